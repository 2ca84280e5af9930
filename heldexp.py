import sys
import numpy as np
from benchmarks.prior import play as P, held as H, tune
from benchmarks.prior.figures import scaled
import agent.learner as AL
def go(rise, numbers_of):
    H.RISE=rise; out={}
    for cell in P.cells():
        if cell.family!="published" and cell.categories!=8: continue
        rng=np.random.default_rng([*b"context",*cell.name.encode(),P.TEST])
        arm=H.Held(200,cell.categories,rng,steps=cell.steps,**numbers_of(cell)); r=P.play(arm,P.world(cell,200,P.TEST))
        if cell.family=="equal": out[cell.name]=float((r.favoured>.9).mean()); continue
        lo=P.result("uniform",cell,200,P.TEST,{}).total.mean(); hi=P.result("oracle",cell,200,P.TEST,{}).total.mean()
        out[cell.name]=float(scaled(r.total.mean(),lo,hi))
    sc=[v for k,v in out.items() if not k.startswith("equal")]
    print(rise, round(np.mean(sc),4), {k:round(v,2) for k,v in out.items()},flush=True)
for rise in (1.8,1.4,3.0): go(rise,lambda c:tune.chosen("context",c.family))

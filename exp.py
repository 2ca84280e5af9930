import sys, time, json
from benchmarks.prior import train as TT
TT.CERTAIN=float(sys.argv[2]); TT.PRICE=float(sys.argv[3])
import numpy as np
from concurrent.futures import ProcessPoolExecutor
from benchmarks.prior import play as P, train as T, figures as F, tune
from agent import learner as AP
def evalcell(a):
    cell,weights,rule,count=a
    low=P.result("uniform",cell,count,P.TEST,{}).total; 
    mine=P.result("context",cell,count,P.TEST,{"weights":weights,**rule})
    if cell.family=="equal":
        return cell,None,float((mine.last>.9).mean()),float((mine.favoured>.9).mean())
    high=P.result("oracle",cell,count,P.TEST,{}).total
    ucb=P.result("UCB1",cell,count,P.TEST,{"width":UCBW}).total
    sc=lambda x:(x.mean()-low.mean())/(high.mean()-low.mean())
    return cell,float(sc(mine.total)),float(sc(ucb)),0
UCBW=0.02
def evaluate(weights,rule,count=60,sizes=(8,)):
    out=[]; eq=[]
    fam={}
    for cell in P.cells():
        if cell.family!="published" and cell.categories not in sizes: continue
        c,m,u,s=evalcell((cell,weights,rule,count))
        if m is None: eq.append((cell.steps,u,s))
        else: out.append((m,u)); fam.setdefault((cell.family),[]).append((round(m,2),round(u,2)))
    return np.mean(out,axis=0).round(3).tolist(), eq, fam
if __name__=="__main__":
    rounds=int(sys.argv[1]); 
    t=time.process_time()
    w=T.train(P.FAMILIES,rounds)
    print("weights",dict(zip(AP.FEATURES,np.round(w,2).tolist())),round(time.process_time()-t),"cpu s",flush=True)
    for rule in ({"step":.5,"tune":.005},{"step":.6,"tune":.01}):
        print(rule,*evaluate(w,rule,120),flush=True)

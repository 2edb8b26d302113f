use std::sync::Arc;
use std::time::Instant;
use recoup_store::{EventLog, Incoming};
use recoup_store::conformance::event_log::{event, incoming};
use recoup_store_sqlite::{Options, SqliteStore};
fn mix(mut z:u64)->u64{ z=z.wrapping_add(0x9e3779b97f4a7c15); z=(z^(z>>30)).wrapping_mul(0xbf58476d1ce4e5b9); z=(z^(z>>27)).wrapping_mul(0x94d049bb133111eb); z^(z>>31)}
fn batch(n:usize, resp:bool)->Vec<Incoming>{ (0..500).map(|i|{ let g=(n*500+i) as u64; let t=g/10;
 let mut e=event(&format!("{:016x}{:016x}",mix(t),mix(t+1<<40)),&format!("{:016x}",mix(g*31+7)), g%5000);
 e.used_at_ns += (g as i64)*40_000_000 % 86_400_000_000_000; 
 if resp && g%10!=0 { e.response_id=Some(format!("msg_{:016x}{:08x}",mix(g+99),mix(g+98) as u32).into()); }
 incoming(e)}).collect() }
#[tokio::main(flavor="multi_thread", worker_threads=2)]
async fn main(){
 let total:usize=std::env::args().nth(1).unwrap().parse().unwrap();
 let resp=std::env::args().nth(2).unwrap()=="r";
 let size=std::env::args().nth(3).map_or(500,|s|s.parse::<usize>().unwrap());
 let dir=tempfile::tempdir_in("/var/tmp").unwrap();
 let store=Arc::new(SqliteStore::open(dir.path(),Options::default()).unwrap());
 let t=Instant::now(); let mut spent=std::time::Duration::ZERO; let mut lat=vec![];
 let rounds= total/(8*500*25);
 for r in 0..rounds { 
  // prepared outside of the clock
  let mut work:Vec<Vec<Vec<Incoming>>>=(0..8).map(|k|(0..25).flat_map(|j| batch((r*8+k)*25+j,resp).chunks(size).map(|c|c.to_vec()).collect::<Vec<_>>()).collect()).collect();
  let t0=Instant::now();
  let hs:Vec<_>=work.drain(..).map(|w|{let s=store.clone(); tokio::spawn(async move{ let mut l=vec![]; for b in w { let t=Instant::now(); let o=s.append(b).await.unwrap(); l.push(t.elapsed()); assert!(o.iter().all(|o|*o==recoup_store::Appended::Accepted)); } l})}).collect();
  for h in hs { lat.extend(h.await.unwrap()); }
  spent+=t0.elapsed();
  if r%(rounds/5).max(1)==0 { println!("round {r}: {:?}", t0.elapsed()); }
 }
 lat.sort();
 println!("{} events {:.2}s => {:.0}/s (wall incl prep {:.1}) p50 {:?} p99 {:?} max {:?}", total, spent.as_secs_f64(), total as f64/spent.as_secs_f64(), t.elapsed().as_secs_f64(), lat[lat.len()/2], lat[lat.len()*99/100], lat.last());
 let t=Instant::now(); let dup=store.append(batch(0,resp)).await.unwrap(); println!("dup batch {:?} {}",t.elapsed(), dup.iter().all(|o|*o==recoup_store::Appended::Duplicate));
 let infos=store.blocks_after(0,usize::MAX).await.unwrap();
 let t=Instant::now(); let mut n=0; for c in infos.chunks(64){ for b in store.read(c.iter().map(|i|i.seq).collect()).await.unwrap(){ n+=recoup_store::block::decode(&b.bytes).unwrap().len(); } }
 println!("read+decode {n} in {:?}, {} blocks", t.elapsed(), infos.len());
 let t=Instant::now(); println!("beyond {} {:?}", store.traces_beyond(vec![infos[0].utc_day],0).await.unwrap().len(), t.elapsed());
 drop(store);
 for f in std::fs::read_dir(dir.path()).unwrap(){let f=f.unwrap(); println!("{:?} {}",f.file_name(),f.metadata().unwrap().len());}
 if let Some(d)=std::env::args().nth(4){ std::fs::copy(dir.path().join("recoup.sqlite3"),d).unwrap(); }
}

//! temp
use recoup_tidy::scan;
#[test]
fn zz() {
    let mut n = 0;
    let mut bad = 0;
    let mut fns = 0;
    let mut dirs = vec![std::path::PathBuf::from(
        std::env::var("HOME").unwrap() + "/.cargo/registry/src",
    )];
    while let Some(d) = dirs.pop() {
        for e in std::fs::read_dir(d).unwrap() {
            let p = e.unwrap().path();
            if p.is_dir() {
                dirs.push(p);
                continue;
            }
            if p.extension().is_some_and(|x| x == "rs") {
                let Ok(t) = std::fs::read_to_string(&p) else {
                    continue;
                };
                if t.len() > 300000 {
                    continue;
                }
                n += 1;
                let m = scan::masks(&t);
                let mut d = 0i64;
                for c in m.code.chars() {
                    match c {
                        '{' => d += 1,
                        '}' => d -= 1,
                        _ => {}
                    }
                }
                if m.code.lines().count() != t.lines().count() {
                    println!("LINES {}", p.display())
                }
                if d != 0 {
                    bad += 1;
                    println!("BAD {} {}", d, p.display())
                }
                let f = scan::functions(&m.code);
                fns += f.len();
                for x in f {
                    if x.parameters > 9 || x.lines > 600 {
                        println!("BIG {:?} {}", x, p.display())
                    }
                }
            }
        }
    }
    println!("files {n} bad {bad} fns {fns}");
}

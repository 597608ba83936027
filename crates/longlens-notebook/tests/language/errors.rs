//! Errors say what, where, and what next.

use crate::common::rig;
use crate::{error, transcript};

fn errors(cells: &[&str]) -> String {
    let mut rig = rig();
    let told = cells.iter().map(|cell| format!("{}\n    {}", cell.replace('\n', "⏎"), error(&mut rig, cell)));
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn cells_that_cannot_be_read() {
    insta::assert_snapshot!(errors(&[
        "let a = (1 + ",
        "let a = 1\nlet b = 2",
        "let match = 3;",
        "let x = 5 @ 3",
        "let s = \"abc",
        "# a comment",
        "let é = 1;",
        "if 5 { 1 }",
        "1; continue",
        "eval(\"1 + 1\")",
        "import \"x\" as y;",
        "for x in 5 { }",
        "f(1,,2)",
        "?",
    ]), @r#"
    let a = (1 + 
        SyntaxError: script is incomplete [1: ] (something is still open: a bracket, a text, or an operator without a right side)
    let a = 1⏎let b = 2
        SyntaxError: expecting ';' to terminate this statement [2: let] (end the statement before with `;`)
    let match = 3;
        SyntaxError: 'match' is a reserved keyword [1: match] (choose another name)
    let x = 5 @ 3
        SyntaxError: unknown operator: '@' [1: @]
    let s = "abc
        SyntaxError: open string is not terminated [1: "abc] (close the text with a quote on the same line; texts in `backticks` may have several lines)
    # a comment
        SyntaxError: '#' is a reserved symbol [1: #] (comments start with //)
    let é = 1;
        SyntaxError: unexpected 'é' [1: é] (names have letters from a to z, digits and _; any other sign can stand in texts and comments)
    if 5 { 1 }
        SyntaxError: expecting a boolean expression, not a number [1: 5]
    1; continue
        SyntaxError: break statement should only be used inside a loop [1: continue] (`break` and `continue` stand inside a loop)
    eval("1 + 1")
        SandboxError: cells do not run texts as code [1: eval] (write the code itself, or a function that does it)
    import "x" as y;
        SandboxError: cannot import `x`: cells load no modules [1: "x"] (define functions in a cell, or %run another file)
    for x in 5 { }
        SyntaxError: expecting an iterable value, not a number [1: 5]
    f(1,,2)
        SyntaxError: unexpected ',' [1: ,]
    ?
        SyntaxError: '?' is a reserved symbol [1: ?]
    "#);
}

#[test]
fn names_that_are_not_there() {
    insta::assert_snapshot!(errors(&[
        "1 + zzz",
        "let group_sizes = 3; group_size + 1",
        "needel(200, 0.5)",
        "full",
        "_7",
        "run(needle(200, 0.5), full()).lossy",
        "run(needle(200, 0.5), full()).entirely_other",
        "full().text",
        "[1].length",
        "let map = #{ a: 1 }; map.b",
        "run(\"abc\", full(), #{ max_token: 3 })",
        "run(\"abc\", \"self_extnd:group_size=4\")",
        "run(\"abc\", \"self_extend:group_siz=4\")",
        "self_extend(#{ group_siz: 4 })",
        "method(\"self_extend\", #{ group_siz: 4 })",
        "rope(\"yarm:factor=2\")",
        "open(\"nowhere\")",
        "table(#{ loss: [1.0], n: [1] }).sort(\"los\")",
        "table(#{ loss: [1.0], n: [1] })[\"nn\"]",
        "table(#{ loss: [1.0], n: [1] }).group(\"n\", #{ loss: \"meen\" })",
        "table(#{ n: [1, 2] }).filter(|row| row.m > 1)",
        "table(#{ n: [1, 2] }).with_column(\"x\", |row| row.length)",
        "sweep(#{ group: [1, 2] }, |p| p.grup)",
        "%foo",
        "?needel",
    ]), @r#"
    1 + zzz
        NameError: there is no variable `zzz` [1: zzz] (make it first, as in `let zzz = …;`)
    let group_sizes = 3; group_size + 1
        NameError: there is no variable `group_size` [1: group_size] (did you mean `group_sizes`?)
    needel(200, 0.5)
        NameError: there is no function `needel` [1: needel] (did you mean `needle`?)
    full
        NameError: `full` is a function, not a variable [1: full] (to call it, write full(…); to hand it on, write Fn("full"); to read of it, ?full)
    _7
        NameError: there is no earlier result of that number [1: _7] (`_` is the last one)
    run(needle(200, 0.5), full()).lossy
        NameError: a Run has no `lossy` [1: lossy] (did you mean `loss`?)
    run(needle(200, 0.5), full()).entirely_other
        NameError: a Run has no `entirely_other` [1: entirely_other] (a Run has: found, loss, nll, perplexity, record, seconds, text, tokens_per_second)
    full().text
        NameError: a Method has no `text` [1: text] (`text` is a function: write .text())
    [1].length
        NameError: an array has no `length` [1: length] (an array has no properties)
    let map = #{ a: 1 }; map.b
        NameError: there is no `b` in this map [1: b] (`keys(map)` lists what there is)
    run("abc", full(), #{ max_token: 3 })
        Error: `run` has no option `max_token` [1: run] (did you mean `max_tokens`?)
    run("abc", "self_extnd:group_size=4")
        Error: unknown method `self_extnd` [1: run] (did you mean `self_extend`?)
    run("abc", "self_extend:group_siz=4")
        Error: `self_extend` has no parameter `group_siz` [1: run] (did you mean `group_size`?)
    self_extend(#{ group_siz: 4 })
        Error: `self_extend` has no parameter `group_siz` [1: self_extend] (did you mean `group_size`?)
    method("self_extend", #{ group_siz: 4 })
        Error: `self_extend` has no parameter `group_siz` [1: method] (did you mean `group_size`?)
    rope("yarm:factor=2")
        Error: unknown RoPE scaling `yarm` [1: rope] (did you mean `yarn`?)
    open("nowhere")
        Error: there is no model `nowhere` [1: open] (open("embedded"))
    table(#{ loss: [1.0], n: [1] }).sort("los")
        Error: there is no column `los` [1: sort] (did you mean `loss`?)
    table(#{ loss: [1.0], n: [1] })["nn"]
        Error: there is no column `nn` [1: [] (did you mean `n`?)
    table(#{ loss: [1.0], n: [1] }).group("n", #{ loss: "meen" })
        Error: there is no aggregation `meen` [1: group] (did you mean `mean`?)
    table(#{ n: [1, 2] }).filter(|row| row.m > 1)
        Error: there is no `m` in this map [1: m] (did you mean `n`?)
    table(#{ n: [1, 2] }).with_column("x", |row| row.length)
        Error: there is no `length` in this map [1: length] (a row has: n)
    sweep(#{ group: [1, 2] }, |p| p.grup)
        Error: there is no `grup` in this map [1: grup] (did you mean `group`?; at point 1 of 2, #{group: 1}; finished points are kept)
    %foo
        NameError: there is no %foo; cells run Rhai (%magics lists what there is)
    ?needel
        NameError: nothing is known of `needel` (did you mean `needle`?)
    "#);
}

#[test]
fn values_that_do_not_fit() {
    insta::assert_snapshot!(errors(&[
        "passkey(5)",
        "needle(\"a\", 2)",
        "run()",
        "run(\"abc\")",
        "run(1, 2)",
        "run(\"abc\", 2)",
        "run(\"\", full())",
        "self_extend(#{ group_size: \"four\" })",
        "self_extend(#{ group_size: 0 })",
        "passkey(#{ lengths: \"long\" })",
        "passkey(#{ lengths: [] })",
        "passkey(#{ lengths: [200], depths: [2.0] })",
        "passkey(#{ lengths: [200], methods: [] })",
        "passkey(#{ lengths: [200], trials: 0 })",
        "passkey(#{ lengths: [9000000000] })",
        "passkey(#{ lengths: [200], trials: 9000000000 })",
        "needle(9000000000, 0.5)",
        "needle(5, 0.5)",
        "attention(trace(\"one two\", full()), 99, 0)",
        "attention_on(trace(\"one two\", full()), 3, 1)",
        "trace(\"one two\", full(), #{ query: 50 })",
        "positions(full(), -5)",
        "run(\"a\", full(), #{ max_tokens: 9000000000 })",
        "wilson(10, 9)",
        "sleep(-1)",
        "\"a\" * 3",
        "1 / 0",
        "[1, 2][5]",
        "const C = 5; C = 6",
        "compare(run(\"a b\", full()), run(\"a c\", full()))",
        "losses([1], 2)",
        "sweep(5, |p| 1)",
        "sweep(#{ a: [] }, |p| 1)",
        "sweep(#{ a: [1] }, |p| [1])",
        "table(#{ a: [1, 2], b: [1] })",
        "table(#{ n: [1] }).filter(|row| row.n)",
        "plot(table(#{ n: [1] }), #{ x: \"n\" })",
    ]), @r#"
    passkey(5)
        TypeError: `passkey` does not take int [1: passkey] (it takes: passkey(options: map) -> Table)
    needle("a", 2)
        TypeError: `needle` does not take string, int [1: needle] (it takes: needle(length: int, depth) -> Prompt; needle(length: int, depth, key) -> Prompt; needle(length: int, depth, options: map) -> Prompt; needle(options: map) -> Prompt)
    run()
        TypeError: `run` was given nothing [1: run] (it takes: run(prompt, method) -> Run; run(prompts: array, method) -> Table; run(prompt, method, options: map) -> Run; run(prompts: array, method, options: map) -> Table)
    run("abc")
        TypeError: `run` does not take string [1: run] (it takes: run(prompt, method) -> Run; run(prompts: array, method) -> Table; run(prompt, method, options: map) -> Run; run(prompts: array, method, options: map) -> Table)
    run(1, 2)
        Error: the prompt must be a prompt or a text, not the number 1 [1: run]
    run("abc", 2)
        Error: the method must be a method or its text, as in "streaming:window=64", not the number 2 [1: run]
    run("", full())
        Error: the prompt is empty [1: run] (give some text or at least one token)
    self_extend(#{ group_size: "four" })
        Error: `self_extend`: group_size = four is not a whole number of at least 1 and below 10^12 [1: self_extend]
    self_extend(#{ group_size: 0 })
        Error: `self_extend`: group_size = 0 is not a whole number of at least 1 and below 10^12 [1: self_extend]
    passkey(#{ lengths: "long" })
        Error: option `lengths` of `passkey` must be a whole number or a list of them, not the text "long" [1: passkey]
    passkey(#{ lengths: [] })
        Error: there are no lengths [1: passkey] (give at least one of the lengths)
    passkey(#{ lengths: [200], depths: [2.0] })
        Error: `2` is not a depth [1: passkey] (for per cent write `2%`; depths go from 0 (start) to 1 (end), or from 0% to 100%)
    passkey(#{ lengths: [200], methods: [] })
        Error: there are no methods [1: passkey] (give at least one, as in `methods: [full()]`)
    passkey(#{ lengths: [200], trials: 0 })
        Error: trials = 0 is not a whole number of at least 1 [1: passkey]
    passkey(#{ lengths: [9000000000] })
        Error: length 9000000000 is too large [1: passkey] (give at most 4194304)
    passkey(#{ lengths: [200], trials: 9000000000 })
        Error: trials 9000000000 is too large [1: passkey] (give at most 1000000)
    needle(9000000000, 0.5)
        Error: a prompt of 9000000000 tokens is too long to make [1: needle] (give at most 4194304)
    needle(5, 0.5)
        Error: a `longlens` prompt cannot be 5 tokens long: without filler it already has 172 [1: needle] (ask for at least 172 tokens)
    attention(trace("one two", full()), 99, 0)
        Error: layer 99 does not exist [1: attention] (layers go from 0 to 1)
    attention_on(trace("one two", full()), 3, 1)
        Error: tokens 3 to 1 are no range [1: attention_on] (give the first token before the last)
    trace("one two", full(), #{ query: 50 })
        Error: query 50 does not exist: 8 tokens were fed [1: trace] (queries go from 0 to 7)
    positions(full(), -5)
        Error: the length -5 is not a whole number of at least 1 [1: positions] (give a larger one)
    run("a", full(), #{ max_tokens: 9000000000 })
        Error: option `max_tokens` of `run` must be a whole number from 0 to 4194304, not the number 9000000000 [1: run]
    wilson(10, 9)
        Error: 10 hits of 9 trials are too many [1: wilson] (give the hits first)
    sleep(-1)
        Error: cannot sleep -1 seconds [1: sleep] (give a number of at least 0)
    "a" * 3
        TypeError: `*` does not work on string and int [1: *] (both sides must be of kinds that the operator knows; texts and numbers are converted with `to_int`, `to_float`, `to_string`)
    1 / 0
        Error: division by zero: 1 / 0 [1: /]
    [1, 2][5]
        IndexError: array index 5 out of bounds: only 2 elements in array [1: 5]
    const C = 5; C = 6
        SyntaxError: cannot assign to constant C [1: C]
    compare(run("a b", full()), run("a c", full()))
        Error: these runs have different prompts [1: compare] (compare runs of one prompt on one model)
    losses([1], 2)
        Error: every one of the runs must be a run, not the number 1 [1: losses]
    sweep(5, |p| 1)
        Error: what `sweep` goes through must be a map of lists, or a list of maps, not the number 5 [1: sweep]
    sweep(#{ a: [] }, |p| 1)
        Error: `a` has no values to go through [1: sweep] (give at least one)
    sweep(#{ a: [1] }, |p| [1])
        Error: the function of a sweep returned a list [1: sweep] (return a number, a map, a run or a table)
    table(#{ a: [1, 2], b: [1] })
        Error: the columns are not equally long: `a` has 2, `b` has 1 [1: table] (give every column a cell per row)
    table(#{ n: [1] }).filter(|row| row.n)
        Error: what a filter returns must be true or false, not the number 1 [1: filter]
    plot(table(#{ n: [1] }), #{ x: "n" })
        Error: a plot needs `x` and `y` [1: plot] (name two columns, as in plot(t, #{ x: "length", y: "loss" }))
    "#);
}

#[test]
fn files_that_cannot_be_used() {
    let mut rig = rig();
    std::fs::write(rig.folder.path().join("bad.csv"), b"a,b\n1\n\"").unwrap();
    std::fs::write(rig.folder.path().join("bad.parquet"), b"PAR1 no").unwrap();
    std::fs::write(rig.folder.path().join("bad.json"), b"[{]").unwrap();
    std::fs::write(rig.folder.path().join("bytes.txt"), [0xff, 0xfe]).unwrap();
    let folder = rig.folder.path().canonicalize().unwrap().display().to_string();
    let told = [
        "load(\"nope.csv\")",
        "load(\"../x.csv\")",
        "load(\"/etc/passwd\")",
        "load(\".\")",
        "load(\"\")",
        "load(\"bad.csv\")",
        "load(\"bad.parquet\")",
        "load(\"bad.json\")",
        "load(\"bytes.txt\")",
        "text(\"nope.txt\")",
        "text(\".\")",
        "perplexity(\"nope.txt\", [8])",
        "save(1, \"../x.json\")",
        "save(1, \"x.csv\")",
        "save(table(#{ n: [1] }), \"x.png\")",
        "save(table(#{ n: [1] }), \"x.xlsx\")",
        "save(1, \"bad.csv/x.json\")",
        "files(\"nope\")",
        "%run nope.rhai",
        "%run ../nope.rhai",
        "%run",
        "%save",
    ]
    .map(|cell| format!("{cell}\n    {}", error(&mut rig, cell).replace(&folder, "FOLDER")))
    .join("\n");
    insta::assert_snapshot!(told, @r#"
    load("nope.csv")
        Error: cannot read `nope.csv`: there is no such file [1: load] (check the name; it counts from the working directory)
    load("../x.csv")
        Error: `../x.csv` lies outside FOLDER [1: load] (cells touch files of the working directory only; start with --files FOLDER for another one, or with --allow-outside to lift that)
    load("/etc/passwd")
        Error: `/etc/passwd` lies outside FOLDER [1: load] (cells touch files of the working directory only; start with --files FOLDER for another one, or with --allow-outside to lift that)
    load(".")
        Error: `.` is a folder [1: load] (give the name of a file)
    load("")
        Error: there is no file name [1: load] (give one, as in "results.csv")
    load("bad.csv")
        Error: this is no table in CSV: CSV error: record 1 (line: 2, byte: 4): found record with 1 fields, but the previous record has 2 fields [1: load] (check that the file is whole and really is CSV)
    load("bad.parquet")
        Error: this is no table in Parquet: EOF: Parquet file too small. Size is 7 but need 8 [1: load] (check that the file is whole and really is Parquet)
    load("bad.json")
        Error: `bad.json` is not JSON: key must be a string at line 1 column 3 [1: load]
    load("bytes.txt")
        Error: cannot read `bytes.txt` as text: it is UTF-16, not UTF-8 (byte 0xff in line 1, offset 0) [1: load] (convert it: `iconv -f UTF-16 -t UTF-8 bytes.txt > NEW`)
    text("nope.txt")
        Error: cannot read `nope.txt`: there is no such file [1: text] (check the name; it counts from the working directory)
    text(".")
        Error: `.` is a folder [1: text] (give the name of a file)
    perplexity("nope.txt", [8])
        Error: cannot read `nope.txt`: there is no such file [1: perplexity] (check the name; it counts from the working directory)
    save(1, "../x.json")
        Error: `../x.json` lies outside FOLDER [1: save] (cells touch files of the working directory only; start with --files FOLDER for another one, or with --allow-outside to lift that)
    save(1, "x.csv")
        Error: cannot write this value as `.csv` [1: save] (end the name in .json or .txt)
    save(table(#{ n: [1] }), "x.png")
        Error: this table has no picture [1: save] (draw it first, as in plot(table, #{ x: "length", y: "loss" }))
    save(table(#{ n: [1] }), "x.xlsx")
        Error: cannot write a table as `.xlsx` [1: save] (end the name in .csv, .json, .jsonl, .parquet, .txt, .png, .svg)
    save(1, "bad.csv/x.json")
        Error: cannot use `bad.csv/x.json`: Not a directory (os error 20) [1: save] (choose a folder you may use)
    files("nope")
        Error: cannot list `nope`: No such file or directory (os error 2) [1: files]
    %run nope.rhai
        FileError: nope.rhai does not exist (check the path)
    %run ../nope.rhai
        SandboxError: `../nope.rhai` lies outside FOLDER (cells touch files of the working directory only; start with --files FOLDER for another one, or with --allow-outside to lift that)
    %run
        SyntaxError: there is no file name (write %run FILE)
    %save
        SyntaxError: there is no file name (write %save FILE.ipynb)
    "#);
}

#[test]
fn what_cells_throw() {
    insta::assert_snapshot!(errors(&[
        "throw \"my own words\"",
        "throw #{ code: 3 }",
        "throw 7",
        "throw",
        "try { throw \"a\" } catch (e) { throw \"b after \" + e }",
        "try { needle(5, 0.5) } catch (e) { throw \"it said: \" + e }",
    ]), @r#"
    throw "my own words"
        Error: my own words [1: throw]
    throw #{ code: 3 }
        Error: #{code: 3} [1: throw]
    throw 7
        Error: 7 [1: throw]
    throw
        Error: thrown [1: throw]
    try { throw "a" } catch (e) { throw "b after " + e }
        Error: b after a [1: throw]
    try { needle(5, 0.5) } catch (e) { throw "it said: " + e }
        Error: it said: a `longlens` prompt cannot be 5 tokens long: without filler it already has 172 [1: throw]
    "#);
}

#[test]
fn errors_in_functions_point_into_the_cell_that_wrote_them() {
    let mut rig = rig();
    insta::assert_snapshot!(transcript(&mut rig, &[
        "fn inner(x) {\n    let y = x + 1;\n    y + zzz\n}",
        "1; 2;\nlet z = inner(4);",
        "fn outer(x) { inner(x) }",
        "// nothing of this is wrong\n\nouter(2)",
        "let half = |x| x / 0;",
        "[1].map(half)",
        "table(#{ n: [1] }).with_column(\"half\", |row| half.call(row.n))",
        "fn inner(x) { x }",
        "outer(2)",
        "[1, 2].map(|x| x + zzz)",
    ]), @r#"
    > fn inner(x) {
    .     let y = x + 1;
    .     y + zzz
    . }
    > 1; 2;
    . let z = inner(4);
    NameError: there is no variable `zzz` (in cell 1)
      |
    3 |     y + zzz
      |         ^^^
    in `inner`, called in line 2: let z = inner(4);
    help: functions see their parameters, no variables of outside: hand it on, or make it inside as in `let zzz = …;`
    > fn outer(x) { inner(x) }
    > // nothing of this is wrong
    . 
    . outer(2)
    NameError: there is no variable `zzz` (in cell 1)
      |
    3 |     y + zzz
      |         ^^^
    in `inner`, called in line 1 of cell 3: fn outer(x) { inner(x) }
    in `outer`, called in line 3: outer(2)
    help: functions see their parameters, no variables of outside: hand it on, or make it inside as in `let zzz = …;`
    > let half = |x| x / 0;
    > [1].map(half)
    Error: division by zero: 1 / 0 (in cell 5)
      |
    1 | let half = |x| x / 0;
      |                  ^
    in a function without a name, called in line 1: [1].map(half)
    > table(#{ n: [1] }).with_column("half", |row| half.call(row.n))
    Error: division by zero: 1 / 0 (in cell 5)
      |
    1 | let half = |x| x / 0;
      |                  ^
    in a function without a name, called in line 1: table(#{ n: [1] }).with_column("half", |row| half.call(row.n))
    in a function without a name, called in line 1: table(#{ n: [1] }).with_column("half", |row| half.call(row.n))
    > fn inner(x) { x }
    > outer(2)
    2
    > [1, 2].map(|x| x + zzz)
    NameError: there is no variable `zzz`
      |
    1 | [1, 2].map(|x| x + zzz)
      |                    ^^^
    help: make it first, as in `let zzz = …;`
    "#);
}

#[test]
fn errors_in_files_point_into_the_file() {
    let mut rig = rig();
    rig.run("%time fn late(x) {\n    x + zzz }").unwrap();
    assert!(error(&mut rig, "late(1)").starts_with("NameError: there is no variable `zzz` (in cell 1) [2: zzz]"));
    insta::assert_snapshot!(transcript(&mut rig, &[
        "save(\"let one = 1;\\none + zzz\", \"a.rhai\");",
        "%run a.rhai",
        "save(\"fn broken(x) {\\n    x + zzz\\n}\", \"b.rhai\");",
        "%run b.rhai",
        "// something else entirely\nbroken(1)",
        "save(\"fn broken(x) { x + zzz }\\n\\n// %%\\n\\nbroken(3)\", \"c.rhai\");",
        "%run c.rhai",
        "save(\"%run d.rhai\", \"d.rhai\");",
        "%run d.rhai",
        "%time 1 +\n  zzz",
    ]), @r#"
    > save("let one = 1;\none + zzz", "a.rhai");
    > %run a.rhai
    NameError: there is no variable `zzz` (in a.rhai)
      |
    2 | one + zzz
      |       ^^^
    help: make it first, as in `let zzz = …;`
    > save("fn broken(x) {\n    x + zzz\n}", "b.rhai");
    > %run b.rhai
    > // something else entirely
    . broken(1)
    NameError: there is no variable `zzz` (in cell 6)
      |
    2 |     x + zzz
      |         ^^^
    in `broken`, called in line 2: broken(1)
    help: functions see their parameters, no variables of outside: hand it on, or make it inside as in `let zzz = …;`
    > save("fn broken(x) { x + zzz }\n\n// %%\n\nbroken(3)", "c.rhai");
    > %run c.rhai
    NameError: there is no variable `zzz` (in c.rhai)
      |
    1 | fn broken(x) { x + zzz }
      |                    ^^^
    in `broken`, called in line 2: broken(3)
    help: functions see their parameters, no variables of outside: hand it on, or make it inside as in `let zzz = …;`
    > save("%run d.rhai", "d.rhai");
    > %run d.rhai
    LimitError: d.rhai runs itself, directly or through others (in d.rhai)
    > %time 1 +
    .   zzz
    NameError: there is no variable `zzz`
      |
    2 |   zzz
      |   ^^^
    help: make it first, as in `let zzz = …;`
    "#);
}

#[test]
fn carets_stand_under_the_word() {
    let mut rig = rig();
    insta::assert_snapshot!(transcript(&mut rig, &[
        "\tlet tabbed = 1 + zzz;",
        "let s = \"äöü\"; s + zzz",
        "let a = 1;\nlet b = [\n    a,\n    zzz,\n];",
        "`text ${1 + zzz} more`",
        "run(needle(200, 0.5), full())\n    .lossy",
    ]), @r#"
    > 	let tabbed = 1 + zzz;
    NameError: there is no variable `zzz`
      |
    1 |  let tabbed = 1 + zzz;
      |                   ^^^
    help: make it first, as in `let zzz = …;`
    > let s = "äöü"; s + zzz
    NameError: there is no variable `zzz`
      |
    1 | let s = "äöü"; s + zzz
      |                    ^^^
    help: make it first, as in `let zzz = …;`
    > let a = 1;
    . let b = [
    .     a,
    .     zzz,
    . ];
    NameError: there is no variable `zzz`
      |
    4 |     zzz,
      |     ^^^
    help: make it first, as in `let zzz = …;`
    > `text ${1 + zzz} more`
    NameError: there is no variable `zzz`
      |
    1 | `text ${1 + zzz} more`
      |             ^^^
    help: make it first, as in `let zzz = …;`
    > run(needle(200, 0.5), full())
    .     .lossy
    NameError: a Run has no `lossy`
      |
    2 |     .lossy
      |      ^^^^^
    help: did you mean `loss`?
    "#);
}

#[test]
fn a_refused_relation_says_what_works() {
    let cell = "forecast(method(\"wild\", |q, k| (q * k) % 97), 2048)";
    insta::assert_snapshot!(errors(&[
        cell,
        "run(\"hello\", method(\"mine\", |d| \"x\"))",
        "run(\"hello\", method(\"mine\", |q, k| true))",
        "run(\"hello\", method(\"mine\", #{ sees: |d| 1, position: |d| d }))",
        "run(\"hello\", method(\"mine\", |d| 0.0 / 0.0))",
        "run(\"hello\", method(\"mine\", |d| 1e9))",
        "run(\"hello\", method(\"mine\", |d| ()))",
        "run(\"hello\", method(\"mine\", |d| throw \"no\"))",
        "run(\"hello\", method(\"mine\", |d| d + zzz))",
        "passkey(#{ lengths: [200], depths: [0.5], methods: [method(\"mine\", |d| run(\"a\", full()).loss)] })",
        "passkey(#{ lengths: [200], depths: [0.5], methods: [method(\"mine\", |d| throw \"no\")] })",
        "perplexity(#{ lengths: [16], methods: [method(\"mine\", |d| \"x\")] })",
        "method(\"full\", |d| d)",
        "method(\"m 3\", |d| d)",
        "method(\"\", |d| d)",
        "method(\"mine\", |a, b, c| a)",
        "method(\"mine\", || 1)",
        "method(\"mine\", Fn(\"nothing_like_it\"))",
        "method(\"mine\", 5)",
        "method(\"mine\", #{ positon: |d| d })",
        "method(\"mine\", #{ sees: |d| true })",
        "method(\"mine\", #{ position: 5 })",
        "method(\"mine\", #{})",
    ]), @r#"
    forecast(method("wild", |q, k| (q * k) % 97), 2048)
        Error: `wild`: query 120 needs more than 64 rules of position [1: forecast] (rotary embeddings place queries and keys apart: piece by piece, the relative position must be a number of the query minus a number of the key, as in `q - k` or `floor(q / 4) - floor(k / 4)`)
    run("hello", method("mine", |d| "x"))
        Error: what `position` of `mine` returns for distance 0 must be a number, or () to hide the key, not the text "x" [1: run]
    run("hello", method("mine", |q, k| true))
        Error: what `position` of `mine` returns for query 21, key 21 must be a number, or () to hide the key, not the value true [1: run]
    run("hello", method("mine", #{ sees: |d| 1, position: |d| d }))
        Error: what `sees` of `mine` returns for distance 0 must be true or false, not the number 1 [1: run]
    run("hello", method("mine", |d| 0.0 / 0.0))
        Error: `mine`: query 0 sees key 0 at NaN, which is not a position [1: run] (positions are finite numbers between -16777216 and 16777216)
    run("hello", method("mine", |d| 1e9))
        Error: `mine`: query 0 sees key 0 at 1000000000, which is not a position [1: run] (positions are finite numbers between -16777216 and 16777216)
    run("hello", method("mine", |d| ()))
        Error: `mine`: query 0 sees no key [1: run] (let every query see at least itself)
    run("hello", method("mine", |d| throw "no"))
        Error: no [1: throw]
    run("hello", method("mine", |d| d + zzz))
        NameError: there is no variable `zzz` [1: zzz] (make it first, as in `let zzz = …;`)
    passkey(#{ lengths: [200], depths: [0.5], methods: [method("mine", |d| run("a", full()).loss)] })
        Error: the model is running already [1: run] (functions of a written method cannot run the model themselves; compute what they need before)
    passkey(#{ lengths: [200], depths: [0.5], methods: [method("mine", |d| throw "no")] })
        Error: no [1: throw]
    perplexity(#{ lengths: [16], methods: [method("mine", |d| "x")] })
        Error: what `position` of `mine` returns for distance 0 must be a number, or () to hide the key, not the text "x" [1: perplexity]
    method("full", |d| d)
        Error: `full` is a method of longlens already [1: method] (choose another name)
    method("m 3", |d| d)
        Error: `m 3` is no name for a method [1: method] (use letters, digits and _, as in "my_window")
    method("", |d| d)
        Error: `` is no name for a method [1: method] (use letters, digits and _, as in "my_window")
    method("mine", |a, b, c| a)
        Error: `position` must be a function of the distance, or of query and key [1: method] (write it as |distance| … or |query, key| …)
    method("mine", || 1)
        Error: `position` must be a function of the distance, or of query and key [1: method] (write it as |distance| … or |query, key| …)
    method("mine", Fn("nothing_like_it"))
        Error: `position` must be a function of the distance, or of query and key [1: method] (write it as |distance| … or |query, key| …)
    method("mine", 5)
        TypeError: `method` does not take string, int [1: method] (it takes: method(text: string) -> Method; method(name: string, parameters: map) -> Method; method(name: string, position: function) -> Method)
    method("mine", #{ positon: |d| d })
        Error: `method` has no option `positon` [1: method] (did you mean `position`?)
    method("mine", #{ sees: |d| true })
        Error: a written method needs `position` [1: method] (a function of the distance or of query and key, as in `position: |query, key| query - key`)
    method("mine", #{ position: 5 })
        Error: `position` must be a function, as in |query, key| query - key, not the number 5 [1: method]
    method("mine", #{})
        Error: unknown method `mine` [1: method] (one of: full, sliding_window, streaming, self_extend, rerope, string, dual_chunk, long_heads, quest, by_layer)
    "#);
}

#[test]
fn a_function_that_uses_the_value_it_is_called_on_is_told_how_not_to() {
    let mut rig = rig();
    let told = error(&mut rig, "let a = [1, 2]; a.map(|x| x * a.len())");
    assert!(told.contains("uses that value's variable itself") && told.contains("let n = list.len()"), "{told}");
    assert_eq!(rig.say("let n = a.len(); a.map(|x| x * n)"), "[2, 4]");
}

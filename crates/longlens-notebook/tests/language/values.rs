//! What variables keep, what values look like, and lines for the session.

use crate::common::rig;
use crate::transcript;

#[test]
fn variables_and_functions_live_on() {
    let mut rig = rig();
    insta::assert_snapshot!(transcript(&mut rig, &[
        "let kept = 1; let lost = zzz;",
        "kept",
        "let x = 1; let x = \"two\"; let y = 3;",
        "let x = 4",
        "%who",
        "fn f(a) { a + 1 }\nf(1)",
        "fn f(a) { a + 100 }",
        "f(1)",
        "fn f(a, b) { a * b }\n[f(2), f(2, 3)]",
        "let k = 10; let g = |a| f(a) + k;",
        "g.call(1)",
        "k = 20; g.call(1)",
        "let counter = 0; let count = || { counter += 1; counter };",
        "count.call(); count.call(); counter",
        "const LIMIT = 7;",
        "LIMIT = 8",
        "LIMIT",
        "fn broken() { ",
        "f(1)",
        "{ let inner = 1; }",
        "inner",
        "let last_value = 3;\nlast_value",
    ]), @r#"
    > let kept = 1; let lost = zzz;
    NameError: there is no variable `zzz`
      |
    1 | let kept = 1; let lost = zzz;
      |                          ^^^
    help: make it first, as in `let zzz = …;`
    > kept
    1
    > let x = 1; let x = "two"; let y = 3;
    > let x = 4
    > %who
    kept             int        1
    y                int        3
    x                int        4
    > fn f(a) { a + 1 }
    . f(1)
    2
    > fn f(a) { a + 100 }
    > f(1)
    101
    > fn f(a, b) { a * b }
    . [f(2), f(2, 3)]
    [102, 6]
    > let k = 10; let g = |a| f(a) + k;
    > g.call(1)
    111
    > k = 20; g.call(1)
    121
    > let counter = 0; let count = || { counter += 1; counter };
    > count.call(); count.call(); counter
    2
    > const LIMIT = 7;
    > LIMIT = 8
    Error: `LIMIT` is constant
      |
    1 | LIMIT = 8
      | ^^^^^
    help: make it with `let`, not `const`
    > LIMIT
    7
    > fn broken() { 
    SyntaxError: expecting '}' to terminate this block
      |
    1 | fn broken() { 
      |               ^
    > f(1)
    101
    > { let inner = 1; }
    > inner
    NameError: there is no variable `inner`
      |
    1 | inner
      | ^^^^^
    help: did you mean `insert`?
    > let last_value = 3;
    . last_value
    3
    "#);
}

#[test]
fn earlier_results() {
    let mut rig = rig();
    insta::assert_snapshot!(transcript(&mut rig, &[
        "40",
        "_ + 2",
        "_1 + _2",
        "_2 - 1",
        "_2 -1",
        "7;",
        "_",
        "let quiet = 5",
        "_",
        "_99",
        "let same = |x| x + _; same.call(1)",
        "_ * 2",
    ]), @"
    > 40
    40
    > _ + 2
    42
    > _1 + _2
    82
    > _2 - 1
    41
    > _2 -1
    SyntaxError: expecting ';' to terminate this statement
      |
    1 | _2 -1
      |    ^
    help: end the statement before with `;`
    > 7;
    > _
    7
    > let quiet = 5
    > _
    7
    > _99
    NameError: there is no earlier result of that number
      |
    1 | _99
      | ^^^
    help: `_` is the last one
    > let same = |x| x + _; same.call(1)
    8
    > _ * 2
    16
    ");
}

#[test]
fn values_in_words() {
    let mut rig = rig();
    rig.run("let r = run(needle(200, 0.5), full(), #{ max_tokens: 4 });").unwrap();
    insta::assert_snapshot!(transcript(&mut rig, &[
        "r",
        "print(r)",
        "`It was ${full()} on ${r.record.model}.`",
        "\"method \" + full() + \"!\"",
        "[full(), rope(\"yarn:factor=2\"), prompt(\"abc\"), table(#{ n: [1] }), r, |x| x, Fn(\"abs\")]",
        "#{ m: full(), n: 1e-9, big: 1e300, three: 3.0, nan: 0.0 / 0.0, inf: -1.0 / 0.0, s: \"a\\\"b\\n\", c: 'x', u: (), e: [], o: #{} }",
        "let long = []; for i in 0..1000 { long.push(i * 1000); } long",
        "[[1, [2, [3, #{ a: [4] }]]]]",
        "print([full(), 1e-9, 3.0, ()])",
        "1e-9",
        "1e15",
        "0.1 + 0.2",
        "-0.0",
        "1e400",
        "\"two\\nlines\"",
        "'x'",
        "()",
        "true",
        "0..5",
        "needle(200, 0.5)",
        "open()",
        "chunks(trace(\"a b c\", full()))",
        "methods().head(2)",
        "r.found",
        "prompt(\"abc\").key",
        "prompt(\"é日本🦀\").pieces.len()",
    ]), @r#"
    > r
    full on scripted
      prompt  needle=200:0.5: 166 tokens, key 11448 in tokens 70 to 127
      loss    17.455 nats a token, perplexity 38055091.90
      says    " 114"
    > print(r)
    full on scripted
      prompt  needle=200:0.5: 166 tokens, key 11448 in tokens 70 to 127
      loss    17.455 nats a token, perplexity 38055091.90
      says    " 114"
    > `It was ${full()} on ${r.record.model}.`
    It was full on scripted.
    > "method " + full() + "!"
    method full!
    > [full(), rope("yarn:factor=2"), prompt("abc"), table(#{ n: [1] }), r, |x| x, Fn("abs")]
    [
        full,
        yarn:factor=2,
        text="abc": 4 tokens,
        table of 1 rows, 1 columns,
        run of full on scripted,
        a function,
        function abs
    ]
    > #{ m: full(), n: 1e-9, big: 1e300, three: 3.0, nan: 0.0 / 0.0, inf: -1.0 / 0.0, s: "a\"b\n", c: 'x', u: (), e: [], o: #{} }
    #{
        big: 1e300,
        c: 'x',
        e: [],
        inf: -inf,
        m: full,
        n: 1e-9,
        nan: NaN,
        o: #{},
        s: "a\"b\n",
        three: 3.0,
        u: ()
    }
    > let long = []; for i in 0..1000 { long.push(i * 1000); } long
    [
        0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000, 11000, 12000, 13000, 14000, 15000,
        16000, 17000, 18000, 19000, 20000, 21000, 22000, 23000, 24000, 25000, 26000, 27000, 28000, 29000,
        30000, 31000, 32000, 33000, 34000, 35000, 36000, 37000, 38000, 39000, 40000, 41000, 42000, 43000,
        44000, 45000, 46000, 47000, 48000, 49000, 50000, 51000, 52000, 53000, 54000, 55000, 56000, 57000,
        58000, 59000, 60000, 61000, 62000, 63000, 64000, 65000, 66000, 67000, 68000, 69000, 70000, 71000,
        72000, 73000, 74000, 75000, 76000, 77000, 78000, 79000, 80000, 81000, 82000, 83000, 84000, 85000,
        86000, 87000, 88000, 89000, 90000, 91000, 92000, 93000, 94000, 95000, 96000, 97000, 98000, 99000,
        100000, 101000, 102000, 103000, 104000, 105000, 106000, 107000, 108000, 109000, 110000, 111000,
        112000, 113000, 114000, 115000, 116000, 117000, 118000, 119000, 120000, 121000, 122000, 123000,
        124000, 125000, 126000, 127000, 128000, 129000, 130000, 131000, 132000, 133000, 134000, 135000,
        136000, 137000, 138000, 139000, 140000, 141000, 142000, 143000, 144000, 145000, 146000, 147000,
        148000, 149000, 150000, 151000, 152000, 153000, 154000, 155000, 156000, 157000, 158000, 159000,
        160000, 161000, 162000, 163000, 164000, 165000, 166000, 167000, 168000, 169000, 170000, 171000,
        172000, 173000, 174000, 175000, 176000, 177000, 178000, 179000, 180000, 181000, 182000, 183000,
        184000, 185000, 186000, 187000, 188000, 189000, 190000, 191000, 192000, 193000, 194000, 195000,
        196000, 197000, 198000, 199000, … 800 more
    ]
    > [[1, [2, [3, #{ a: [4] }]]]]
    [[1, [2, [3, #{a: [4]}]]]]
    > print([full(), 1e-9, 3.0, ()])
    [full, 1e-9, 3.0, ()]
    > 1e-9
    1e-9
    > 1e15
    1e15
    > 0.1 + 0.2
    0.30000000000000004
    > -0.0
    -0.0
    > 1e400
    inf
    > "two\nlines"
    two
    lines
    > 'x'
    x
    > ()
    > true
    true
    > 0..5
    0..5
    > needle(200, 0.5)
    needle=200:0.5: 166 tokens, key 11448 in tokens 70 to 127
    > open()
    scripted (scripted): 2 layers of 4 heads, 0 parameters, trained on 256 tokens, f32, scripted
    > chunks(trace("a b c", full()))
    attention by chunk of every head from token 5, full
    > methods().head(2)
    method          meaning                              parameter  value                                default
    full            every earlier key at its true dist…
    sliding_window  keys seen, the query's own included  window     a whole number of at least 1 and b…  the trained context
    > r.found
    > prompt("abc").key
    > prompt("é日本🦀").pieces.len()
    13
    "#);
}

#[test]
fn lines_for_the_session() {
    let mut rig = rig();
    insta::assert_snapshot!(transcript(&mut rig, &[
        "%who",
        "let a = [1, 2]; let m = full(); fn f(x) { x }",
        "%who",
        "%functions filler",
        "%functions qqq",
        "%history 2",
        "%history x",
        "%config",
        "%config operations 1_000_000",
        "%config operatoins 5",
        "%config operations many",
        "%config operations",
        "%foo",
        "%%bash\nls",
        "%%tiemit\n1",
        "%who\n1 + 1",
        "?rope",
        "rope??",
        "full?",
        "?f",
        "?a",
        "?%time",
        "?min",
        "save(\"let one = 1;\\none + 1\\n\\n// %%\\none + 2\", \"a.rhai\");",
        "%run a.rhai",
        "one",
        "%load a.rhai",
        "%save all.ipynb",
        "%reset",
        "one",
        "%run all.ipynb",
        "%save all.rhai",
        "%time",
        "%theme drak",
        "%theme dark",
        "%theme",
        "%magics",
    ]), @r#"
    > %who
    no variables yet
    > let a = [1, 2]; let m = full(); fn f(x) { x }
    > %who
    a                array      [1, 2]
    m                Method     full
    f                function   (x)
    > %functions filler
    Prompts
      needle           A pass key hidden in filler
    > %functions qqq
    nothing about `qqq`
    > %history 2
       4  %functions filler
       5  %functions qqq
    > %history x
    TypeError: `x` is not a number of cells
    > %config
    operations 5000000 (steps of one cell)
    memory SIZE
    figures png (png, png2x, svg)
    files FOLDER
    > %config operations 1_000_000
    operations 1000000 (steps of one cell)
    memory SIZE
    figures png (png, png2x, svg)
    files FOLDER
    > %config operatoins 5
    NameError: there is nothing called `operatoins` to set
    help: did you mean `operations`?
    > %config operations many
    TypeError: `operations` needs a whole number of at least 1
    help: write %config operations 1000000
    > %config operations
    TypeError: `operations` needs a whole number of at least 1
    help: write %config operations 1000000
    > %foo
    NameError: there is no %foo; cells run Rhai
    help: %magics lists what there is
    > %%bash
    . ls
    NameError: there is no %%bash; cells run Rhai
    help: %magics lists what there is
    > %%tiemit
    . 1
    NameError: there is no %%tiemit; cells run Rhai
    help: did you mean `%timeit`?
    > %who
    . 1 + 1
    SyntaxError: %who takes one line
    help: put the other lines into a cell of their own
    > ?rope
    rope(text: string) -> Rope
        A RoPE scaling by its text form: `linear`, `ntk`, `dynamic`, `yarn`, `llama3`, `none`.

    rope(name: string, parameters: map) -> Rope
        A RoPE scaling by its name and a map of parameters.
    > rope??
    rope(text: string) -> Rope
        A RoPE scaling by its text form: `linear`, `ntk`, `dynamic`, `yarn`, `llama3`, `none`.

        rope("yarn:factor=8")

    rope(name: string, parameters: map) -> Rope
        A RoPE scaling by its name and a map of parameters.

        rope("yarn", #{ factor: 8 })
    > full?
    full() -> Method
        Full attention: every earlier key at its true distance. Vaswani et al., 2017, arXiv:1706.03762.

        full()
    > ?f
    f(x)
    written in this session
    > ?a
    a: array
    [1, 2]
    > ?%time
    %time CODE
        runs code and says how long it took
    > ?min
    min(list: array)
        The smallest number of a list; `()` of an empty one.

    min(char1: char, char2: char) -> char
        Return the character that is lexically smaller than the other character.
    > save("let one = 1;\none + 1\n\n// %%\none + 2", "a.rhai");
    > %run a.rhai
    3
    > one
    1
    > %load a.rhai
    // %%
    let one = 1;
    one + 1

    // %%
    one + 2
    > %save all.ipynb
    saved 3 cells as all.ipynb
    > %reset
    > one
    NameError: there is no variable `one`
      |
    1 | one
      | ^^^
    help: make it first, as in `let one = …;`
    > %run all.ipynb
    NameError: there is no variable `one` (in all.ipynb)
      |
    1 | one
      | ^^^
    help: make it first, as in `let one = …;`
    > %save all.rhai
    saved 4 cells as all.rhai
    > %time
    SyntaxError: there is no code to run
    help: write %time run("Once upon a time", full())
    > %theme drak
    NameError: there is no theme `drak`
    help: did you mean `dark`?
    > %theme dark
    pictures are shown on a dark ground; files that `save` writes have a light one
    > %theme
    pictures are shown on a dark ground; files that `save` writes have a light one
    > %magics
    %time CODE              runs code and says how long it took
    %timeit CODE            runs code several times: fastest and median
    %who                    lists variables
    %functions [WORD]       lists functions, or those whose name or help holds a word
    %history [N]            lists the cells so far, or the last N
    %run FILE               runs a .rhai file or the cells of a notebook here
    %save FILE              saves the cells so far as a notebook (.ipynb, with results) or as .rhai
    %load FILE              shows a file's cells, ready to be run with %run
    %config [NAME VALUE]    shows limits and the form of pictures, or sets them: operations, memory, figures
    %theme [dark|light]     shows pictures on a dark or a light ground from now on
    %reset                  forgets variables and functions
    %magics                 lists these lines
    ?NAME                   what is known of a name
    ??NAME                  the same with examples
    "#);
}

#[test]
fn timing_runs_code() {
    let mut rig = rig();
    let said = rig.say("%time let timed = 5; timed + 1");
    assert!(said.ends_with("\n6") && said.contains('s'), "{said}");
    assert!(rig.say("%time timed + 1;").lines().count() == 1);
    assert_eq!(rig.say("[timed, _]"), "[5, 6]");
    let said = rig.say("%timeit timed * 2");
    assert!(said.contains(" runs: fastest ") && said.contains("median"), "{said}");
    assert!(rig.say("%timeit zzz").contains("NameError"));
    assert!(rig.say("%time\ntimed").ends_with("\n5"));
}

#[test]
fn pictures_of_a_timed_cell_are_drawn() {
    let mut rig = rig();
    let options = longlens_notebook::session::Options {
        model: "embedded".into(),
        files: longlens_notebook::host::Files::below(rig.folder.path()),
        limits: longlens_notebook::session::Limits::default(),
        draws: true,
    };
    rig.session = longlens_notebook::session::Session::new(Box::new(crate::common::Scripted), options, &rig.out);
    for cell in ["positions(full(), 32)", "%time positions(full(), 32)", "_", "show(_)"] {
        rig.heard.borrow_mut().shown.clear();
        let shown = rig.run(cell).unwrap().or_else(|| rig.heard.borrow_mut().shown.pop());
        assert!(shown.is_some_and(|shown| shown.png.is_some()), "{cell}");
    }
}

#[test]
fn the_last_arm_of_a_switch_is_no_earlier_result() {
    let mut rig = rig();
    rig.say("7");
    assert_eq!(rig.say("switch 3 {\n    1 => \"one\",\n    _ => \"other\",\n}"), "other");
    assert_eq!(rig.say("let kind = \"b\"; switch kind { \"a\" => 1, _ => _1 + 1 }"), "8");
}

#[test]
fn numbers_that_are_not_finite_are_saved_alike() {
    let mut rig = rig();
    rig.run("let list = [0.0 / 0.0, 1.0 / 0.0, -1.0 / 0.0, 1.5, \"x\"];").unwrap();
    assert_eq!(rig.say("save(list, \"list.json\"); load(\"list.json\")"), "[NaN, inf, -inf, 1.5, \"x\"]");
    rig.run("save(table(#{ n: list }), \"table.json\"); save(#{ n: list }, \"map.json\");").unwrap();
    let read = |name: &str| std::fs::read_to_string(rig.folder.path().join(name)).unwrap();
    for name in ["list.json", "table.json", "map.json"] {
        let text = read(name);
        assert!(["\"NaN\"", "\"inf\"", "\"-inf\""].iter().all(|word| text.contains(word)), "{name}: {text}");
    }
}

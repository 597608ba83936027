"""Talks to an installed longlens kernel as Jupyter does, and fails at the first answer that is wrong.

    JUPYTER_DATA_DIR=<where the kernel is installed> python conversation.py <kernel name>

One line is printed for each thing tried.
"""

import signal
import sys
import time
from queue import Empty

from jupyter_client import KernelManager

TIMEOUT = 60


class Kernel:
    """A kernel of its own, and a client that talks to it."""

    def __init__(self, name, ready=True, **options):
        self.manager = KernelManager(kernel_name=name, **options)
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        if ready:
            self.client.wait_for_ready(timeout=TIMEOUT)

    def close(self):
        self.client.stop_channels()
        if self.manager.is_alive():
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()

    def reply(self, msg_id, channel="shell"):
        """The reply to a request; replies to others are passed over."""
        get = getattr(self.client, f"get_{channel}_msg")
        end = time.time() + TIMEOUT
        while time.time() < end:
            message = get(timeout=TIMEOUT)
            if message["parent_header"].get("msg_id") == msg_id:
                return message
        raise TimeoutError(f"no reply to {msg_id}")

    def until(self, msg_id, last):
        """What all clients were told because of a request, up to the message that `last` accepts."""
        messages = []
        end = time.time() + TIMEOUT
        while time.time() < end:
            message = self.client.get_iopub_msg(timeout=TIMEOUT)
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            messages.append(message)
            if last(message):
                return messages
        raise TimeoutError(f"{msg_id} did not end: {messages}")

    def published(self, msg_id):
        """What all clients were told because of a request: without the `busy` and `idle` around it."""
        messages = self.until(msg_id, lambda message: message["content"].get("execution_state") == "idle")
        check(messages[0]["content"].get("execution_state") == "busy", "it begins with `busy`", messages)
        return messages[1:-1]

    def idle(self, msg_id):
        """Waits until a request that was started is done."""
        self.until(msg_id, lambda message: message["content"].get("execution_state") == "idle")

    def run(self, code, **options):
        """Runs a cell: the content of its reply, and kinds and contents of what was published."""
        msg_id = self.client.execute(code, **options)
        reply = self.reply(msg_id)["content"]
        return reply, [(message["msg_type"], message["content"]) for message in self.published(msg_id)]

    def value(self, code):
        """The value of a cell, as text."""
        reply, said = self.run(code)
        check(reply["status"] == "ok", f"`{code}` runs", reply)
        return dict(said)["execute_result"]["data"]["text/plain"]

    def ask(self, what, *arguments, **options):
        return self.reply(getattr(self.client, what)(*arguments, **options))["content"]

    def control(self, msg_type, **content):
        """The content of the reply to a request that does not wait its turn."""
        message = self.client.session.msg(msg_type, content)
        self.client.control_channel.send(message)
        return self.reply(message["header"]["msg_id"], "control")["content"]

    def start(self, code):
        """Starts a cell and returns when it runs."""
        msg_id = self.client.execute(code)
        self.until(msg_id, lambda message: message["msg_type"] == "execute_input")
        return msg_id


def check(true, what, *seen):
    if not true:
        raise AssertionError(f"{what}; seen: {seen}")


def kernel_info(kernel):
    info = kernel.ask("kernel_info")
    check(info["status"] == "ok" and info["implementation"] == "longlens", "the kernel names itself", info)
    check(info["protocol_version"] >= "5.3", "protocol 5.3", info)
    language = info["language_info"]
    expected = {"name": "rhai", "file_extension": ".rhai", "mimetype": "text/x-rhai", "pygments_lexer": "rust"}
    check(expected.items() <= language.items(), "the language is Rhai", language)


def cells(kernel):
    reply, said = kernel.run("1 + 2")
    check(reply["status"] == "ok" and reply["user_expressions"] == {}, "a cell runs", reply)
    check([kind for kind, _ in said] == ["execute_input", "execute_result"], "input, then value", said)
    check(said[0][1]["code"] == "1 + 2", "the input is repeated", said)
    check(said[1][1]["data"]["text/plain"] == "3", "1 + 2 is 3", said)
    check(isinstance(said[1][1].get("transient", {}), dict), "`transient` is an object, where it is", said)
    check(reply["execution_count"] == said[0][1]["execution_count"] == said[1][1]["execution_count"], "one number", said)

    reply, said = kernel.run('print("hi"); print("there"); 7')
    text = "".join(content["text"] for kind, content in said if kind == "stream" and content["name"] == "stdout")
    check(text == "hi\nthere\n", "text is printed in order", said)
    check(said[-1][0] == "execute_result", "the value comes after the text", said)

    first, said = kernel.run("let x = 40;")
    check([kind for kind, _ in said] == ["execute_input"], "a statement has no value", said)
    second, _ = kernel.run("x + 2")
    check(second["execution_count"] == first["execution_count"] + 1, "cells are counted", first, second)
    check(kernel.value("x + 2") == "42", "variables stay")


def much_text(kernel):
    reply, said = kernel.run("for i in 0..5000 { print(i); }")
    text = "".join(content["text"] for kind, content in said if kind == "stream")
    check(text == "".join(f"{i}\n" for i in range(5000)), "no line is lost or out of order", reply, text[:200])
    n_messages = sum(kind == "stream" for kind, _ in said)
    check(n_messages < 500, "text that is printed quickly goes out together", n_messages)


def runaway(kernel):
    reply, said = kernel.run("for i in 0..300000 { print(i); } 7")
    text = "".join(content["text"] for kind, content in said if kind == "stream")
    check(reply["status"] == "ok" and (1 << 19) < len(text) < (1 << 20) + 1000, "words end near 1 MiB", len(text))
    last = text.splitlines()[-1]
    check("KiB more are left out" in last or "MiB more are left out" in last, "and say how many are left out", last)
    check("save(" in last, "and where they can go instead", last)


def progress(kernel):
    """Progress that was shown is gone when the cell is done, and what else the cell said is there."""
    long = "run(needle(8000, 0.5), full(), #{ prefill_chunk: 64, max_tokens: 1 });"
    _, said = kernel.run(long)
    kinds = [kind for kind, _ in said]
    check("display_data" in kinds and kinds[-1] == "clear_output", "alone it is taken back", kinds)
    _, said = kernel.run(f'print("before"); {long}')
    display_id = next(content["transient"]["display_id"] for kind, content in said if kind == "display_data")
    kind, content = said[-1]
    check(kind == "update_display_data" and content["data"] == {}, "beside others it becomes nothing", said[-1])
    check(content["transient"]["display_id"] == display_id, "and it is the same one", said[-1])


def consoles(kernel):
    """Half blocks for whoever asked whether a cell is whole, and for no one else: files of notebooks would grow."""
    cell = 'positions("streaming:window=32", 128)'
    plain = dict(kernel.run(cell)[1])["execute_result"]["data"]
    check("image/png" in plain and "\x1b" not in plain["text/plain"], "a page gets a picture", plain["text/plain"])
    console = kernel.manager.client()
    console.load_connection_info(kernel.manager.get_connection_info())
    console.session.session = "a console"
    console.start_channels()
    console.wait_for_ready(timeout=TIMEOUT)
    console.is_complete("1")
    console.execute(cell)
    end = time.time() + TIMEOUT
    while time.time() < end:
        message = console.get_iopub_msg(timeout=TIMEOUT)
        if message["msg_type"] == "execute_result":
            break
    text = message["content"]["data"]["text/plain"]
    check("\x1b[" in text and "▀" in text, "a console gets half blocks", text[:100])
    console.stop_channels()


def errors(kernel):
    reply, said = kernel.run("nope")
    check(reply["status"] == "error" and reply["ename"], "an unknown name is an error", reply)
    check("nope" in reply["evalue"] and any("nope" in line for line in reply["traceback"]), "it is named", reply)
    check("\x1b[1;31mNameError\x1b[0m" in reply["traceback"][0], "in colours", reply)
    kind, content = said[-1]
    check(kind == "error" and content["ename"] == reply["ename"], "all clients hear of it", said)

    reply, _ = kernel.run("let y = 1; nope")
    check(kernel.value("y") == "1", "what a cell did before its error stays", reply)

    reply, said = kernel.run("let = ;")
    check(reply["status"] == "error", "what cannot be parsed is an error", reply)


def aborted(kernel):
    failing, never = kernel.client.execute("nope"), kernel.client.execute("let never = 1;")
    info = kernel.client.kernel_info()
    check(kernel.reply(failing)["content"]["status"] == "error", "the first cell fails")
    check(kernel.reply(never)["content"]["status"] == "aborted", "the cell sent with it does not run")
    check(kernel.reply(info)["content"]["status"] == "ok", "other requests are answered")
    kernel.published(info)
    failing = kernel.client.execute("nope", stop_on_error=False)
    runs = kernel.client.execute("5")
    kernel.reply(failing)
    check(kernel.reply(runs)["content"]["status"] == "ok", "unless errors are not to stop the others")
    kernel.published(runs)


def silence(kernel):
    before, _ = kernel.run("1")
    reply, said = kernel.run('print("unheard"); let quiet = 3; 4', silent=True)
    check(reply["status"] == "ok" and said == [], "a silent cell says nothing", reply, said)
    reply, said = kernel.run("quiet", store_history=False)
    check([kind for kind, _ in said] == ["execute_input", "execute_result"], "a cell that is not kept is heard", said)
    reply, said = kernel.run("  \n")
    check(reply["status"] == "ok" and len(said) <= 1, "an empty cell is no error", reply, said)
    after, _ = kernel.run("quiet", user_expressions={"double": "quiet * 2", "wrong": "nope"})
    check(after["execution_count"] == before["execution_count"] + 1, "only what is kept is counted", before, after)
    expressions = after["user_expressions"]
    check(expressions["double"]["data"]["text/plain"] == "6", "expressions are evaluated", expressions)
    check(expressions["wrong"]["status"] == "error" and "nope" in expressions["wrong"]["evalue"], "or fail", expressions)


def completion(kernel):
    # the first sign is one code point, two in UTF-16 and four bytes
    code = "/*😀*/ self_ex"
    reply = kernel.ask("complete", code)
    check("self_extend" in reply["matches"], "a name is completed", reply)
    check((reply["cursor_start"], reply["cursor_end"]) == (6, len(code)), "what it replaces", reply)
    kinds = reply["metadata"]["_jupyter_types_experimental"]
    check(len(kinds) == len(reply["matches"]), "every candidate has a kind", reply)
    kind = kinds[reply["matches"].index("self_extend")]
    check(kind["text"] == "self_extend" and kind["type"] == "function", "it is a function", kind)
    reply = kernel.ask("complete", "full() + self_ex", 2)
    check("full" in reply["matches"] and reply["cursor_start"] == 0, "at the cursor, not at the end", reply)
    check(kernel.ask("complete", "zzzzz_")["matches"] == [], "nothing is made up")


def inspection(kernel):
    short, long = (kernel.ask("inspect", "needle", detail_level=level) for level in (0, 1))
    check(short["found"] and "needle" in short["data"]["text/plain"], "a function is explained", short)
    check(len(long["data"]["text/plain"]) > len(short["data"]["text/plain"]), "more on demand", short, long)
    reply = kernel.ask("inspect", "zzzzz_")
    check(reply["status"] == "ok" and not reply["found"] and reply["data"] == {}, "an unknown name is not", reply)


def completeness(kernel):
    for code, status in [("1 + 2", "complete"), ("fn f() {", "incomplete"), ("let x = 1; }", "invalid")]:
        reply = kernel.ask("is_complete", code)
        check(reply["status"] == status, f"`{code}` is {status}", reply)


def history(kernel):
    for code in ("111", "222", "111"):
        kernel.run(code)
    tail = kernel.ask("history", hist_access_type="tail", n=3)["history"]
    check([entry[2] for entry in tail] == ["111", "222", "111"], "the last cells", tail)
    session, number, _ = tail[0]
    span = kernel.ask("history", hist_access_type="range", session=session, start=number, stop=number + 2)["history"]
    check([entry[1:] for entry in span] == [[number, "111"], [number + 1, "222"]], "cells by number", span)
    outputs = kernel.ask("history", hist_access_type="tail", n=1, output=True)["history"]
    check(outputs[0][2] == ["111", "111"], "inputs with outputs", outputs)
    found = kernel.ask("history", hist_access_type="search", pattern="1?1*")["history"]
    check(len(found) >= 2 and found[-1][2] == "111", "cells by pattern", found)
    unique = kernel.ask("history", hist_access_type="search", pattern="1?1*", unique=True)["history"]
    check(len(unique) == 1 and unique[0][1] == tail[2][1], "each once, the newest", unique)


def comms(kernel):
    def send(msg_type, content):
        message = kernel.client.session.msg(msg_type, content)
        kernel.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    check(kernel.ask("comm_info")["comms"] == {}, "there are no comms")
    said = kernel.published(send("comm_open", {"comm_id": "c1", "target_name": "nobody", "data": {}}))
    closed = [message["content"]["comm_id"] for message in said if message["msg_type"] == "comm_close"]
    check(closed == ["c1"], "a comm that nobody wants is closed", said)
    send("comm_msg", {"comm_id": "c1", "data": {}})
    send("make_coffee_request", {"sugar": 2})
    check(kernel.value("1") == "1", "unknown messages are passed over")


def interrupts(kernel):
    kernel.run("let x = 41;")
    began = time.time()
    msg_id = kernel.start("x += 1; loop {}")
    check(kernel.client.hb_channel.is_beating(), "the heart beats while a cell runs")
    check(kernel.control("kernel_info_request")["status"] == "ok", "control answers meanwhile")
    kernel.manager.interrupt_kernel()
    reply = kernel.reply(msg_id)["content"]
    check(reply["status"] == "error" and reply["ename"] == "Interrupted", "an interrupt stops the cell", reply)
    check(time.time() - began < 20, "soon", time.time() - began)
    kernel.idle(msg_id)
    check(kernel.value("x") == "42", "variables stay")
    check(kernel.control("interrupt_request")["status"] == "ok", "an interrupt is answered")
    check(kernel.value("x + 1") == "43", "an interrupt while nothing runs does nothing")


def signals(kernel):
    if sys.platform == "win32":
        return
    kernel.run("let x = 42;")
    kernel.manager.signal_kernel(signal.SIGINT)
    time.sleep(0.5)  # nothing tells when a signal has arrived
    check(kernel.value("x") == "42", "Ctrl-C while nothing runs does nothing")
    msg_id = kernel.start("loop {}")
    kernel.manager.signal_kernel(signal.SIGINT)
    check(kernel.reply(msg_id)["content"]["status"] == "error", "Ctrl-C stops a cell")
    kernel.idle(msg_id)
    check(kernel.value("x") == "42", "and not the kernel")


def signatures(kernel):
    session = kernel.client.session
    message = session.msg("execute_request", {"code": "let forged = 1;", "silent": False, "store_history": True})
    parts = session.serialize(message)
    delimiter = parts[0]
    for wrong in (
        [delimiter, b"0" * 64, *parts[2:]],
        [delimiter, b"\xff\xfe", *parts[2:]],
        parts[:3],
        [delimiter],
        [b"no", b"message"],
    ):
        kernel.client.shell_channel.socket.send_multipart(wrong)
    reply, _ = kernel.run("forged")
    check(reply["status"] == "error", "a message with a wrong signature is not obeyed", reply)


def repeated(kernel):
    session = kernel.client.session
    kernel.run("let n_runs = 0;")
    message = session.msg("execute_request", {"code": "n_runs += 1;", "silent": False, "store_history": True})
    parts = session.serialize(message)
    for _ in range(2):
        kernel.client.shell_channel.socket.send_multipart(parts)
    kernel.reply(message["header"]["msg_id"])
    kernel.published(message["header"]["msg_id"])
    check(kernel.value("n_runs") == "1", "a repeated message does not run again")


def large(kernel):
    reply, _ = kernel.run('let large = "' + "x" * (20 << 20) + '"; 1')
    check(reply["status"] in ("ok", "error"), "a client with the key may send more than a stranger", str(reply)[:200])


def pictures(kernel):
    for code in ("perplexity(#{ lengths: [16, 32] })", "passkey(#{ lengths: [200], depths: [0.5], trials: 1 })"):
        _, said = kernel.run(code)
        picture, table = [content["data"] for kind, content in said if kind in ("display_data", "execute_result")][-2:]
        check(set(picture) == {"text/plain", "image/png"}, "the picture of a table comes first, by itself", picture.keys())
        check(set(table) == {"text/plain", "text/html"}, "then the table", table.keys())
        protocol = table["text/plain"].splitlines()[-1]
        check(protocol in picture["text/plain"], "both name the protocol", protocol, picture["text/plain"])
        check("<p>" in table["text/html"], "in HTML too", table["text/html"])


def parameters(kernel):
    cell = '# Parameters\nsize = 5\nname = "a\\u00e9\\n"\nok = True\nlist = [1, -2.5]\nmap = {"a": None}\n'
    reply, said = kernel.run(cell)
    check(reply["status"] == "ok" and said[0][1]["code"] == cell, "parameters in Python are read", reply, said)
    check(kernel.value("size + list.len() + name.len()") == "10", "and are variables")
    reply, _ = kernel.run("# Parameters\nsize = float('nan')\n")
    check(reply["status"] == "error" and "size" in reply["evalue"], "what cannot be one is said", reply)


def shutdowns(name, **options):
    for code in (None, "loop {}"):
        for restart in (False, True):
            kernel = Kernel(name, **options)
            try:
                if code:
                    kernel.start(code)
                began = time.time()
                reply = kernel.control("shutdown_request", restart=restart)
                check(reply["status"] == "ok" and reply["restart"] == restart, "a shutdown is answered", reply)
                process = kernel.manager.provisioner.process
                code_of_exit = process.wait(timeout=10)
                check(code_of_exit == 0, "the kernel ends well", code_of_exit)
                check(time.time() - began < 5, "and soon", time.time() - began)
            finally:
                kernel.close()


TOPICS = [
    kernel_info, cells, much_text, runaway, progress, consoles, errors, aborted, silence, completion, inspection, completeness, history, comms,
    interrupts, signals, signatures, repeated, large, pictures, parameters,
]  # fmt: skip


def converse(name, topics, **options):
    kernel = Kernel(name, **options)
    try:
        for topic in topics:
            topic(kernel)
            print("ok:", topic.__name__, *options.values(), flush=True)
        try:
            left = kernel.client.get_shell_msg(timeout=0.2)
        except Empty:
            left = None
        check(left is None, "every request has one reply", left)
    finally:
        kernel.close()
    shutdowns(name, **options)
    print("ok: shutdowns", *options.values(), flush=True)


def main(name):
    converse(name, TOPICS)
    if sys.platform != "win32":
        converse(name, [kernel_info, cells, interrupts], transport="ipc")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])

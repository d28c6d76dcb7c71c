"""JavaScript, TypeScript, bash and Java."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.code_interpreter.server import Server


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("const x = 5; x", "5"),
        ("const x = 6; x", "6"),
        ("await new Promise((resolve) => setTimeout(() => resolve(7), 10))", "7"),
        ("import fs, { existsSync as there } from 'fs'; there === fs.existsSync", "true"),
        ("import * as path from 'node:path'\npath.join('a', 'b')", "a/b"),
        ("const { EOL } = await import('node:os'); EOL === '\\n'", "true"),
        ("require('node:util').inspect({ a: 1 })", "{ a: 1 }"),
        ("'import(nothing)'", "import(nothing)"),
        ("function twice(n) { return 2 * n }\ntwice(21)", "42"),
        ("NaN", "NaN"),
        ("10n ** 20n", "100000000000000000000n"),
        ("[1, 2].map((n) => n * 2)", "[ 2, 4 ]"),
        ("process.cwd() === require('fs').realpathSync('.')", "true"),
    ],
)
def test_javascript(server: Server, code: str, text: str) -> None:
    execution = server.execute(code, language="js")
    assert (execution.error, execution.text) == (None, text)


def test_javascript_prints_in_order_and_shows_objects_as_json(server: Server) -> None:
    execution = server.execute("console.log('out'); console.error('err'); ({ a: [1] })", language="javascript")
    kinds = [event["type"] for event in execution.events]
    assert kinds == ["number_of_executions", "stdout", "stderr", "result"]
    assert execution.results[0]["json"] == {"a": [1]}
    assert server.execute("undefined", language="javascript").results == []
    assert server.execute("display.html('<b>x</b>')", language="javascript").results == [
        {"type": "result", "html": "<b>x</b>", "is_main_result": False, "extra": {}}
    ]


def test_javascript_errors_name_the_cells_lines_only(server: Server) -> None:
    error = server.execute("function fails() {\n  throw new TypeError('no')\n}\nfails()", language="javascript").error
    assert error is not None
    assert (error["name"], error["value"]) == ("TypeError", "no")
    assert error["traceback"].splitlines() == ["TypeError: no", "    at fails (<anonymous>:2:9)", "    at <anonymous>:4:1"]


def test_a_late_error_in_javascript_harms_nothing(server: Server) -> None:
    server.execute("setTimeout(() => { throw new Error('late') }, 1)", language="javascript")
    assert server.execute("await new Promise((resolve) => setTimeout(resolve, 50)); 1", language="javascript").text == "1"


def test_javascript_finds_packages_beside_it(server: Server, tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "greeting"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "greeting", "main": "main.js"}')
    (package / "main.js").write_text("module.exports = { hello: () => 'hi' }")
    context = server.context(language="javascript", cwd=str(tmp_path))
    assert server.execute("require('greeting').hello()", context_id=context).text == "hi"
    assert server.execute("import greeting from 'greeting'; greeting.hello()", context_id=context).text == "hi"
    server.remove(context)


def test_typescript_has_types_and_its_own_state(server: Server) -> None:
    assert server.execute("interface Point { x: number }\nconst p: Point = { x: 3 }\np.x", language="typescript").text == "3"
    assert server.execute("enum Colour { Red, Green }\nColour.Green + p.x", language="ts").text == "4"
    wrong = server.execute("let q: number =", language="typescript").error
    assert wrong is not None
    assert wrong["name"] == "SyntaxError"


def test_bash_keeps_variables_functions_and_directory(server: Server) -> None:
    server.execute('cd / && word=kept\nshout() { echo "$1!"; }', language="bash")
    assert server.execute("echo $PWD $word; shout 'a  b'", language="bash").stdout == "/ kept\na  b!\n"
    server.execute(f"cd {server.home}", language="bash")


def test_bash_tells_output_from_errors_and_says_how_a_cell_ended(server: Server) -> None:
    execution = server.execute("echo out; echo err >&2; cat; (exit 3)", language="bash")
    assert (execution.stdout, execution.stderr) == ("out\n", "err\n")
    assert execution.error is not None
    assert (execution.error["name"], execution.error["value"]) == ("ExitStatus", "3")
    assert "nosuchcommand: command not found" in server.execute("nosuchcommand", language="bash").stderr
    assert server.execute("for i in $(seq 20000); do echo $i; done", language="bash").stdout.count("\n") == 20_000


def test_a_bash_cell_that_is_no_bash_or_ends_the_shell(server: Server) -> None:
    assert "syntax error" in server.execute("if then", language="bash").stderr
    ended = server.execute("exit 3", language="bash").error
    assert ended is not None
    assert ended["name"] == "ContextRestarting"
    assert server.execute("echo again", language="bash").stdout == "again\n"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("1 + 1", "2"),
        ("int x = 20; x++;\nx * 2", "42"),
        ("class Pair { int sum() { return 3 + 4; } }\nnew Pair().sum()", "7"),
        ("for (int i = 0; i < 3; i++) { x += i; }\nx", "24"),
        ('List.of("a", "ż").stream().collect(Collectors.joining("\\"\\\\"))', 'a\\"\\\\ż'),
        ("int y = 3;", None),
    ],
)
def test_java(server: Server, code: str, text: str | None) -> None:
    execution = server.execute(code, language="java")
    assert (execution.error, execution.text) == (None, text)


def test_java_prints_and_fails_and_is_interrupted(server: Server) -> None:
    context = server.context(language="java")
    printed = server.execute('int kept = 41; System.out.println("żółw 🐢"); System.err.print("err");', context_id=context)
    assert (printed.stdout, printed.stderr) == ("żółw 🐢\n", "err")
    thrown, wrong = (
        server.execute('throw new IllegalStateException("no");', context_id=context),
        server.execute("int z = ;", context_id=context),
    )
    assert thrown.error is not None
    assert (thrown.error["name"], thrown.error["value"]) == ("java.lang.IllegalStateException", "no")
    assert wrong.error is not None
    assert wrong.error["name"] == "CompilationException"
    server.give_up("while (true) {}", seconds=0.5, context_id=context)
    assert server.execute("kept + 1", context_id=context).text == "42"
    assert server.execute('System.getProperty("ONCE")', context_id=context, env_vars={"ONCE": "now"}).text == "now"
    assert server.execute('System.getProperty("ONCE")', context_id=context).text == "null"
    server.remove(context)

// A kernel for Java: cells are cut into snippets by the JDK's own shell, which evaluates them in this process.

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Collectors;
import jdk.jshell.Diag;
import jdk.jshell.EvalException;
import jdk.jshell.JShell;
import jdk.jshell.JShellException;
import jdk.jshell.Snippet;
import jdk.jshell.SnippetEvent;
import jdk.jshell.SourceCodeAnalysis;
import jdk.jshell.UnresolvedReferenceException;

public class Kernel {
    private static final List<String> IMPORTS = List.of(
        "java.io.*", "java.math.*", "java.net.*", "java.nio.file.*", "java.time.*", "java.util.*", "java.util.concurrent.*",
        "java.util.function.*", "java.util.regex.*", "java.util.stream.*");

    private final OutputStream answers;
    private final JShell shell;
    private volatile boolean running;
    private volatile boolean interrupted;

    private record Request(long id, String code, boolean silent) {}

    private record Problem(String name, String value, String traceback) {}

    private Kernel(OutputStream answers) {
        this.answers = answers;
        this.shell = JShell.builder().executionEngine("local").out(System.out).err(System.err).build();
        for (String name : IMPORTS) shell.eval("import " + name + ";");
    }

    public static void main(String[] arguments) throws Exception {
        OutputStream answers = new FileOutputStream("/proc/self/fd/" + System.getenv("ANSWERS_FD"));
        System.setOut(new PrintStream(new Output(answers, "stdout"), true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(new Output(answers, "stderr"), true, StandardCharsets.UTF_8));
        Kernel kernel = new Kernel(answers);
        BlockingQueue<Request> waiting = new LinkedBlockingQueue<>();
        Thread cells = new Thread(() -> kernel.serve(waiting), "cells");
        cells.setDaemon(true);
        cells.start();
        var requests = new BufferedReader(
            new InputStreamReader(new FileInputStream("/proc/self/fd/" + System.getenv("REQUESTS_FD")), StandardCharsets.UTF_8));
        for (String line; (line = requests.readLine()) != null; ) {
            if (line.startsWith("{\"interrupt\"")) kernel.interrupt();
            else waiting.add(request(line));
        }
        Runtime.getRuntime().halt(0);
    }

    private void serve(BlockingQueue<Request> waiting) {
        send("{\"type\":\"ready\"}");
        while (true) {
            try {
                run(waiting.take());
            } catch (InterruptedException late) {
                // An interruption came when its cell had ended.
            }
        }
    }

    private void interrupt() {
        if (running) {
            interrupted = true;
            shell.stop();
        }
    }

    private void run(Request request) {
        interrupted = false;
        running = true;
        String rest = request.code();
        String value = null;
        Problem problem = null;
        try {
            while (problem == null && !interrupted && !rest.isBlank()) {
                SourceCodeAnalysis.CompletionInfo found = shell.sourceCodeAnalysis().analyzeCompletion(rest);
                boolean whole = found.completeness().isComplete();
                value = null;
                for (SnippetEvent event : shell.eval(whole ? found.source() : rest)) {
                    if (event.causeSnippet() != null) continue; // another snippet, brought up to date
                    problem = problemOf(event);
                    value = isExpression(event.snippet()) ? event.value() : null;
                }
                rest = whole ? found.remaining() : "";
            }
        } catch (RuntimeException | Error error) {
            problem = new Problem(error.getClass().getName(), String.valueOf(error.getMessage()), String.valueOf(error));
        }
        running = false;
        Thread.interrupted();
        if (interrupted) problem = new Problem("Interrupted", "Execution was interrupted", "");
        String id = "\"id\":" + request.id();
        if (problem != null) {
            send("{\"type\":\"error\"," + id + ",\"name\":" + quoted(problem.name()) + ",\"value\":" + quoted(problem.value())
                + ",\"traceback\":" + quoted(problem.traceback()) + "}");
        } else if (!request.silent() && value != null && !value.isEmpty()) {
            send("{\"type\":\"result\"," + id + ",\"data\":{\"text/plain\":" + quoted(value) + "}}");
        }
        send("{\"type\":\"done\"," + id + "}");
    }

    private static boolean isExpression(Snippet snippet) {
        return snippet.kind() == Snippet.Kind.EXPRESSION || snippet.subKind() == Snippet.SubKind.TEMP_VAR_EXPRESSION_SUBKIND;
    }

    private Problem problemOf(SnippetEvent event) {
        if (event.status() == Snippet.Status.REJECTED) {
            List<String> messages = new ArrayList<>();
            for (Diag diagnosis : shell.diagnostics(event.snippet()).toList()) messages.add(diagnosis.getMessage(Locale.ENGLISH));
            String text = String.join("\n", messages);
            return new Problem("CompilationException", text, event.snippet().source().strip() + "\n" + text);
        }
        JShellException thrown = event.exception();
        if (thrown == null) return null;
        String name = "UnresolvedReferenceException";
        String value = String.valueOf(thrown.getMessage());
        if (thrown instanceof EvalException exception) {
            name = exception.getExceptionClassName();
        } else if (thrown instanceof UnresolvedReferenceException unresolved) {
            value = shell.unresolvedDependencies(unresolved.getSnippet()).collect(Collectors.joining(", "));
        }
        StringBuilder traceback = new StringBuilder(name + ": " + value);
        for (StackTraceElement element : thrown.getStackTrace()) traceback.append("\n    at ").append(element);
        return new Problem(name, value, traceback.toString());
    }

    private void send(String line) {
        write(answers, line);
    }

    private static void write(OutputStream answers, String line) {
        synchronized (answers) {
            try {
                answers.write((line + "\n").getBytes(StandardCharsets.UTF_8));
                answers.flush();
            } catch (java.io.IOException gone) {
                Runtime.getRuntime().halt(1);
            }
        }
    }

    // The server writes requests as {"id": 1, "code": "…", "silent": false}, with every character beyond ASCII escaped.
    private static Request request(String line) {
        int code = line.indexOf("\"code\": \"") + 9;
        StringBuilder text = new StringBuilder();
        int at = code;
        for (; line.charAt(at) != '"'; at++) {
            char character = line.charAt(at);
            if (character != '\\') {
                text.append(character);
                continue;
            }
            character = line.charAt(++at);
            switch (character) {
                case 'n' -> text.append('\n');
                case 't' -> text.append('\t');
                case 'r' -> text.append('\r');
                case 'b' -> text.append('\b');
                case 'f' -> text.append('\f');
                case 'u' -> {
                    text.append((char) Integer.parseInt(line.substring(at + 1, at + 5), 16));
                    at += 4;
                }
                default -> text.append(character);
            }
        }
        long id = Long.parseLong(line.substring(line.indexOf("\"id\": ") + 6, line.indexOf(',')));
        return new Request(id, text.toString(), line.indexOf("true", at) > 0);
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char character : text.toCharArray()) {
            if (character == '"' || character == '\\') quoted.append('\\').append(character);
            else if (character < ' ' || Character.isSurrogate(character)) quoted.append(String.format("\\u%04x", (int) character));
            else quoted.append(character);
        }
        return quoted.append('"').toString();
    }

    /** What is printed, as it comes; a character's bytes stay together. */
    private static final class Output extends OutputStream {
        private final OutputStream answers;
        private final String name;
        private final byte[] kept = new byte[1 << 13];
        private int size;

        Output(OutputStream answers, String name) {
            this.answers = answers;
            this.name = name;
        }

        @Override
        public synchronized void write(int value) {
            write(new byte[] {(byte) value}, 0, 1);
        }

        @Override
        public synchronized void write(byte[] bytes, int start, int length) {
            for (int index = start; index < start + length; index++) {
                if (size == kept.length) flush();
                kept[size++] = bytes[index];
            }
        }

        @Override
        public synchronized void flush() {
            int whole = size;
            while (whole > 0 && size - whole < 4 && (kept[whole - 1] & 0xC0) == 0x80) whole--; // the last bytes of a character
            if (whole > 0 && (kept[whole - 1] & 0xC0) == 0xC0) {
                int expected = (kept[whole - 1] & 0xE0) == 0xC0 ? 2 : (kept[whole - 1] & 0xF0) == 0xE0 ? 3 : 4;
                whole = size - whole + 1 >= expected ? size : whole - 1;
            } else {
                whole = size;
            }
            if (whole == 0) return;
            String text = new String(kept, 0, whole, StandardCharsets.UTF_8);
            System.arraycopy(kept, whole, kept, 0, size - whole);
            size -= whole;
            Kernel.write(answers, "{\"type\":\"stream\",\"name\":\"" + name + "\",\"text\":" + quoted(text) + "}");
        }
    }
}

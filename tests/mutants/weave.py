"""Weaves the mutants that cargo-mutants lists into one program, and runs its tests once for each.

Each mutated place asks `crate::on(number)` whether its mutant is meant, by the variable MUTANT. What
does not compile is taken out again, compilation by compilation: most of that is what cargo-mutants
calls unviable, such as a `Default` that a type does not have.
"""

import bisect
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import tree_sitter
import tree_sitter_rust

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))
COMPARISONS = {"==", "!=", "<", ">", "<=", ">="}
OPERATIONS = ("binary_expression", "compound_assignment_expr", "unary_expression")
SWITCH = """
static MUTANT: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
#[inline(never)]
pub fn on(number: u32) -> bool {
    let wanted = || std::env::var("MUTANT").ok().and_then(|text| text.parse().ok());
    *MUTANT.get_or_init(|| wanted().unwrap_or(0)) == number
}
"""


class CannotWeave(Exception):
    """The place is of a kind for which there is no way to switch."""


def has_let(node):
    """Whether a condition binds: then it cannot be put into brackets."""
    if node.type in ("let_condition", "let_chain"):
        return True
    return any(has_let(child) for child in node.children if child.type not in ("block", "closure_expression"))


def parent_of(node, *kinds):
    while node is not None and node.type not in kinds:
        node = node.parent
    if node is None:
        raise CannotWeave
    return node


def marked(mutants, text):
    """Marks what belongs to mutants, so that errors in it are theirs."""
    numbers = ",".join(str(mutant["number"]) for mutant in mutants).encode()
    return b"/*<" + numbers + b"*/" + text + b"/*>*/"


class Weaver:
    """One source file."""

    def __init__(self, source, mutants):
        self.source = source
        self.tree = PARSER.parse(source)
        self.inserted = collections.defaultdict(list)
        self.wrapped = collections.defaultdict(list)
        self.unwoven = set()
        self.starts = [0] + [at + 1 for at, octet in enumerate(source) if octet == 10]
        self.lines = source.decode().split("\n")
        for mutant in mutants:
            try:
                self.place(mutant)
            except CannotWeave:
                self.unwoven.add(mutant["number"])
        wrapped = [entries[0][0].start_byte for entries in self.wrapped.values()]
        self.touched = sorted([*self.inserted, *wrapped])

    def offset(self, position):
        line = self.lines[position["line"] - 1]
        return self.starts[position["line"] - 1] + len(line[: position["column"] - 1].encode())

    def place(self, mutant):
        start, end = (self.offset(mutant["span"][edge]) for edge in ("start", "end"))
        number, text, genre = mutant["number"], mutant["replacement"], mutant["genre"]
        node = self.tree.root_node.descendant_for_byte_range(start, max(start, end - 1))
        if genre == "FnValue":
            if text == "::std::iter::empty()":
                # Another type than the function's own iterator: that one ends at once.
                self.inserted[start].insert(0, "({ ")
                self.inserted[end].append(f" }}).take(if crate::on({number}) {{ 0 }} else {{ usize::MAX }})")
            elif text.startswith("::std::iter::"):
                raise CannotWeave
            else:
                self.inserted[start].append(f"if crate::on({number}) {{ return {text}; }} ")
            return
        if genre in ("BinaryOperator", "UnaryOperator"):
            node = parent_of(node, *OPERATIONS)
            if node.type == "binary_expression" and has_let(node):
                raise CannotWeave
        elif genre == "MatchArmGuard":
            while node.start_byte > start or node.end_byte < end:
                node = node.parent
            while (node.parent.start_byte, node.parent.end_byte) == (node.start_byte, node.end_byte):
                node = node.parent
            if has_let(node):
                raise CannotWeave
        elif genre == "MatchArm":
            node = parent_of(node, "match_arm").child_by_field_name("pattern")
            condition = node.child_by_field_name("condition")
            if condition is not None and has_let(condition):
                raise CannotWeave
        elif genre == "StructField":
            node = parent_of(node, "field_initializer", "shorthand_field_initializer")
        else:
            raise CannotWeave
        self.wrapped[node.id].append((node, mutant))

    def woven(self):
        return self.render(self.tree.root_node)

    def raw(self, start, end):
        text, at = b"", start
        for place in sorted(place for place in self.inserted if start <= place < end):
            text += self.source[at:place] + "".join(self.inserted[place]).encode()
            at = place
        return text + self.source[at:end]

    def children(self, node, render=None):
        render = render or self.render
        text, at = b"", node.start_byte
        for child in node.children:
            text += self.raw(at, child.start_byte) + render(child)
            at = child.end_byte
        return text + self.raw(at, node.end_byte)

    def render(self, node):
        first = bisect.bisect_left(self.touched, node.start_byte)
        if first == len(self.touched) or self.touched[first] >= node.end_byte:
            return self.source[node.start_byte : node.end_byte]
        by_genre = collections.defaultdict(list)
        for _, mutant in self.wrapped.get(node.id, []):
            by_genre[mutant["genre"]].append(mutant)
        # What is inserted where a switched place begins stands before the switch.
        inserted = "".join(self.inserted.pop(node.start_byte, [])) if by_genre else ""
        return inserted.encode() + self.switched(node, by_genre)

    def switched(self, node, by_genre):
        if by_genre["BinaryOperator"]:
            text = self.operator(node, by_genre["BinaryOperator"])
        elif by_genre["UnaryOperator"]:
            text = self.negation(node, by_genre["UnaryOperator"][0])
        elif by_genre["MatchArm"]:
            return self.pattern(node, by_genre["MatchArm"][0])
        elif by_genre["StructField"]:
            return self.field(node, by_genre["StructField"][0])
        else:
            text = self.children(node)
        for mutant in by_genre["MatchArmGuard"]:
            switch = b"crate::on(%d) || (" if mutant["replacement"] == "true" else b"!crate::on(%d) && ("
            text = marked([mutant], b"(" + switch % mutant["number"] + text + b"))")
        return text

    def operator(self, node, mutants):
        left, right = (self.render(node.child_by_field_name(side)) for side in ("left", "right"))
        operator = node.child_by_field_name("operator").text
        others = [(mutant["number"], mutant["replacement"].encode()) for mutant in mutants]
        if node.type == "compound_assignment_expr":
            switched = b"".join(
                b"if crate::on(%d) { %s %s %s } else " % (number, left, other, right) for number, other in others
            )
            return marked(mutants, b"{ %s{ %s %s %s } }" % (switched, left, operator, right))
        if operator in (b"&&", b"||"):
            ((number, other),) = others
            text = b"({ let l_ = %s; if crate::on(%d) { l_ %s %s } else { l_ %s %s } })"
            return marked(mutants, text % (left, number, other, right, operator, right))
        # A comparison takes its operands by reference anyway.
        borrow = b"&" if operator.decode() in COMPARISONS else b""
        switched = b"".join(
            b"if crate::on(%d) { %s } else " % (mutant["number"], marked([mutant], b"l_ %s r_" % other))
            for mutant, (_, other) in zip(mutants, others)
        )
        text = b"({ let l_ = %s(%s); let r_ = %s(%s); %s{ l_ %s r_ } })"
        return marked(mutants, text % (borrow, left, borrow, right, switched, operator))

    def negation(self, node, mutant):
        operator, operand = node.children[0].text, self.render(node.children[1])
        if operator == b"!":
            return marked([mutant], b"(!(%s) ^ crate::on(%d))" % (operand, mutant["number"]))
        text = b"(if crate::on(%d) { %s } else { %s%s })"
        return marked([mutant], text % (mutant["number"], operand, operator, operand))

    def pattern(self, node, mutant):
        condition = node.child_by_field_name("condition")
        if condition is None:
            return self.children(node) + marked([mutant], b" if !crate::on(%d)" % mutant["number"])

        def render(child):
            text = self.render(child)
            if child.id != condition.id:
                return text
            return marked([mutant], b"!crate::on(%d) && (%s)" % (mutant["number"], text))

        return self.children(node, render)

    def field(self, node, mutant):
        fields = node.parent
        name = fields.parent.child_by_field_name("name").text
        base = next(child for child in fields.children if child.type == "base_field_initializer").text[2:]
        if node.type == "shorthand_field_initializer":
            field = value = node.text
        else:
            field = node.child_by_field_name("field").text
            value = self.render(node.child_by_field_name("value"))
        text = b"%s: if crate::on(%d) { let base_: %s = %s; base_.%s } else { %s }"
        return marked([mutant], text % (field, mutant["number"], name, base, field, value))


def weave(plain, woven, mutants, left_out):
    """Writes the woven package; the numbers of what cannot be woven in."""
    shutil.rmtree(woven / "src", ignore_errors=True)
    shutil.copytree(plain, woven, dirs_exist_ok=True, ignore=shutil.ignore_patterns("target", "mutants.out*"))
    by_file = collections.defaultdict(list)
    for mutant in mutants:
        by_file[mutant["file"]].append(mutant)
    unwoven = set()
    for file, all_of_file in by_file.items():
        kept = [mutant for mutant in all_of_file if mutant["number"] not in left_out]
        weaver = Weaver((plain / file).read_bytes(), kept)
        (woven / file).write_bytes(weaver.woven())
        unwoven |= weaver.unwoven
    lib = woven / "src/lib.rs"
    lib.write_text("#![allow(warnings)]\n" + lib.read_text() + SWITCH)
    return unwoven


def spans_of(message):
    spans = list(message["spans"])
    for child in message["children"]:
        spans += child["spans"]
    for span in sorted(spans, key=lambda span: not span["is_primary"]):
        while span.get("expansion") and not span["file_name"].startswith("src/"):
            span = span["expansion"]["span"]
        if span["file_name"].startswith("src/"):
            yield span


def to_blame(message, woven):
    """The mutants at whose place a compiler's error is."""
    for span in spans_of(message):
        text = (woven / span["file_name"]).read_bytes()
        start, end = span["byte_start"], span["byte_end"]
        if "non-exhaustive" in message["message"]:
            node = PARSER.parse(text).root_node.descendant_for_byte_range(start, end)
            arms = parent_of(node, "match_expression").child_by_field_name("body").children
            patterns = [arm.child_by_field_name("pattern").text for arm in arms if arm.type == "match_arm"]
            # Of the arms that had no condition before.
            return {int(number) for text in patterns for number in re.findall(rb" if !crate::on\((\d+)\)", text)}
        line_start = text.rfind(b"\n", 0, start) + 1
        line = text[line_start : text.find(b"\n", start)]
        for found in re.finditer(rb"if crate::on\((\d+)\) \{ return .*?; \}", line):
            if line_start + found.start() <= start < line_start + found.end():
                return {int(found.group(1))}
        around = []
        for found in re.finditer(rb"/\*<([0-9,]+)\*/|/\*>\*/", text[:start]):
            if found.group(1):
                around.append(found.group(1))
            else:
                around.pop()
        if around:
            return {int(number) for number in around[-1].split(b",")}
        inside = re.findall(rb"crate::on\((\d+)\)", text[start:end])
        if 0 < len(inside) <= 3:
            return {int(number) for number in inside}
    return set()


def compile_away(plain, woven, mutants):
    """Weaves until it compiles; the numbers of what had to be left out."""
    left_out = set()
    while True:
        unwoven = weave(plain, woven, mutants, left_out)
        check = ["cargo", "check", "--tests", "--message-format=json"]
        output = subprocess.run(check, cwd=woven, capture_output=True, text=True)
        messages = [json.loads(line) for line in output.stdout.splitlines() if line.startswith("{")]
        messages = [one["message"] for one in messages if one.get("reason") == "compiler-message"]
        errors = [message for message in messages if message["level"] == "error"]
        if not errors and output.returncode == 0:
            return left_out | unwoven
        blamed = set().union(*(to_blame(error, woven) for error in errors)) - left_out
        if not blamed:
            sys.exit("errors that are no mutant's:\n" + "".join(one["rendered"] for one in errors) + output.stderr)
        print(f"{len(errors)} errors, {len(blamed)} mutants less", flush=True)
        left_out |= blamed


def built(woven):
    build = ["cargo", "test", "--lib", "--no-run", "--message-format=json"]
    output = subprocess.run(build, cwd=woven, stdout=subprocess.PIPE, text=True, check=True)
    programs = (json.loads(line).get("executable") for line in output.stdout.splitlines() if line.startswith("{"))
    return next(program for program in programs if program)


def outcome(program, woven, number, selection):
    """`missed`, `timeout`, or the test that noticed."""
    env = dict(os.environ, MUTANT=str(number), PROPTEST_CASES="50", INSTA_UPDATE="no", RUST_BACKTRACE="0")
    command = [program, "--test-threads=1", *selection]
    process = subprocess.Popen(
        command, cwd=woven, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            if line.startswith("test ") and line.rstrip().endswith("FAILED"):
                return line.split()[1]
            if line.startswith("test result: ok"):
                return "missed"
        return "timeout"
    finally:
        timer.cancel()
        process.kill()
        process.wait()


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    patterns = sys.argv[2:]
    plain, woven = folder / "plain", folder / "woven"
    mutants = json.loads((folder / "list.json").read_text())
    for number, mutant in enumerate(mutants, 1):
        mutant["number"] = number
    left_out = compile_away(plain, woven, mutants)
    program = built(woven)
    if outcome(program, woven, 0, []) != "missed":
        sys.exit("the tests fail without a mutant")
    wanted = [mutant for mutant in mutants if not patterns or any(re.search(one, mutant["name"]) for one in patterns)]
    judged = [mutant for mutant in wanted if mutant["number"] not in left_out]

    def judge(mutant):
        room = mutant["file"].split("/")[1] + "::"
        found = outcome(program, woven, mutant["number"], [room])
        if found == "missed":
            found = outcome(program, woven, mutant["number"], ["--skip", room])
        if found == "missed":
            print("missed", mutant["name"], flush=True)
        return found

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(judge, judged))
    missed = [mutant["name"] for mutant, found in zip(judged, outcomes) if found == "missed"]
    (folder / "missed.txt").write_text("".join(name + "\n" for name in missed))
    others = [mutant["name"] for mutant in wanted if mutant["number"] in left_out]
    (folder / "not-woven.txt").write_text("".join(name + "\n" for name in others))
    caught = len(judged) - len(missed)
    print(f"{caught} of {len(judged)} caught ({100 * caught / max(1, len(judged)):.1f} %), {len(others)} not woven in")


main()

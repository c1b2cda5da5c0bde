"""The status page and a report as a file, in a real Chromium: what people see and do there, and what must not happen.

usage: browser.py URL FOLDER   (TOKEN, CHROMIUM and REPORT in the environment; screenshots go to FOLDER)
Each check is a function; all of them run, and the first that fails ends it with its error.
"""

import os
import re
import sys
import time
from importlib import resources

from playwright.sync_api import Page, expect, sync_playwright

URL, FOLDER = sys.argv[1:]
TOKEN = os.environ["TOKEN"]
REPORT = "file://" + os.environ["REPORT"]
SESSION = []
PAGES = ["/", "/plan", "/runs", "/runs/1", "/history", "/people?who=evil%40example.org", "/holds/1", "/quarantine"]
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()

# The lowest contrast of a text with what is behind it, and which text that is (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const light = (rgb) => { const [r, g, b] = rgb.map((c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (element) => {
    if (element === null) return [255, 255, 255];
    const colour = parse(getComputedStyle(element).backgroundColor);
    return colour[3] === 1 ? colour.slice(0, 3) : over(colour, behind(element.parentElement));
  };
  let worst = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility() || element.closest("svg, noscript, option")) continue;
    const back = behind(element);
    const [a, b] = [light(over(parse(getComputedStyle(element).color), back)), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst[0]) worst = [ratio, `${element.tagName}.${element.className}: ${text.slice(0, 60)}`];
  }
  return worst;
}"""


class Watch:
    """What a page must not do: complain on the console, load from elsewhere, or open a dialog."""

    def __init__(self, page: Page, base: str):
        self.wrong = []
        page.on("console", lambda one: self.wrong.append(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda one: self.wrong.append(one.url) if not one.url.startswith(base) else None)

    def expect_nothing(self):
        assert self.wrong == [], self.wrong


def log_in(page: Page):
    """As whoever has logged in before: each session is one of a few that there may be."""
    if not SESSION:
        page.goto(URL + "/")
        assert page.url.startswith(URL + "/login"), page.url
        page.get_by_label("Token of this daemon").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        SESSION.extend(page.context.cookies())
    page.context.add_cookies(SESSION)
    page.goto(URL + "/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Status")


def at(browser, base=URL, **options):
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(60_000)
    return context, page, Watch(page, base)


def the_login_takes_the_token_once(browser):
    context, page, watch = at(browser)
    page.goto(URL + "/history?who=ada")
    page.get_by_label("Token of this daemon").fill("not the token of it")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("That is not the token of this daemon.")
    # The browser tells of the refusal by itself.
    watch.wrong.clear()
    page.get_by_label("Token of this daemon").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("History")
    assert page.url == URL + "/history?who=ada", page.url
    (cookie,) = context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and cookie["path"] == "/", cookie
    assert TOKEN not in page.content() and page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    # Not even whoever has kept the cookie is still in.
    context.add_cookies([cookie])
    page.goto(URL + "/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    watch.expect_nothing()
    context.close()


def every_page_is_accessible_and_names_do_nothing(browser):
    context, page, watch = at(browser)
    log_in(page)
    for path in PAGES:
        page.goto(URL + path)
        assert page.locator("h1").count() == 1 and page.locator("main").count() == 1
        for table in page.locator("table").all():
            caption, headings = table.locator("caption").text_content(), table.locator("th[scope=col]").count()
            assert caption and headings > 1, (path, caption, headings)
        assert page.evaluate("window.owned") is None
        assert page.locator("main img, main script, main b").count() == 0, path
        assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", page.content()), path
        # Through the debugger, as the policy lets no script in.
        page.evaluate(AXE)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations'], elementRef: false, preload: false})")["violations"]
        told = [(one["id"], [node["html"][:150] for node in one["nodes"]]) for one in found]
        assert told == [], (path, told)
    page.goto(URL + "/history")
    shown = page.locator("main").inner_text()
    assert '<img src=x onerror="window.owned=1">' in shown and "\\u202e" in shown, shown
    watch.expect_nothing()
    context.close()


def the_policy_lets_nothing_else_run(browser):
    context, page, _ = at(browser)
    log_in(page)
    page.evaluate("""() => {
      const script = document.createElement('script'); script.textContent = 'window.owned = 1'; document.body.append(script);
      const image = document.createElement('img'); image.setAttribute('onerror', 'window.owned = 1'); image.src = '/nowhere';
      document.body.append(image);
    }""")
    page.wait_for_function("document.images[document.images.length - 1].complete")
    assert page.evaluate("window.owned") is None
    context.close()


def it_is_read_without_a_script(browser):
    context, page, watch = at(browser, java_script_enabled=False)
    log_in(page)
    for path in PAGES:
        page.goto(URL + path)
        assert page.locator("main").inner_text().strip()
    page.goto(URL + "/history")
    page.get_by_label("Person or group").fill("evil@example.org")
    page.get_by_label("What", exact=True).select_option("create")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.goto(URL + "/")
    page.get_by_text("The figures").click()
    expect(page.get_by_role("table", name="The last runs, the newest first")).to_be_visible()
    watch.expect_nothing()
    context.close()


def a_dry_run_is_made_at_a_click(browser):
    context, page, watch = at(browser)
    log_in(page)
    page.get_by_role("button", name="Make a dry run").click()
    expect(page.get_by_role("heading", name="Person by person")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="Grace Hopper")
    expect(row).to_contain_text("Engineer")
    expect(row.locator("ins")).to_contain_text("Admiral")
    page.get_by_label("Name, address, DN or key").fill("grace")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("section[aria-labelledby=people] tbody tr")).to_have_count(1)
    page.get_by_role("navigation", name="Parts of the plan").get_by_role("link", name="Held").click()
    expect(page).to_have_url(re.compile("part=held"))
    page.goto(URL + "/")
    page.screenshot(path=f"{FOLDER}/light.png", full_page=True)
    page.goto(URL + "/plan")
    page.screenshot(path=f"{FOLDER}/plan.png", full_page=True)
    watch.expect_nothing()
    context.close()


def nothing_is_done_without_the_code_of_the_session(browser):
    context, page, _ = at(browser)
    log_in(page)
    before = page.goto(URL + "/plan") and page.locator("main").inner_text()
    for change in ["code.remove()", "code.value = 'x'", "code.value = '0'.repeat(64)"]:
        page.goto(URL + "/plan")
        page.evaluate(f"(() => {{ const code = document.querySelector('main input[name=code]'); {change}; }})()")
        with page.expect_response(lambda one: one.request.method == "POST") as answer:
            page.get_by_role("button", name="dry run").click()
        assert answer.value.status == 403, answer.value.status
    # A form of another session.
    other, elsewhere, _ = at(browser)
    elsewhere.goto(URL + "/login")
    code = elsewhere.locator("main input[name=code]").get_attribute("value")
    page.goto(URL + "/plan")
    page.evaluate("(code) => { document.querySelector('main input[name=code]').value = code; }", code)
    with page.expect_response(lambda one: one.request.method == "POST") as answer:
        page.get_by_role("button", name="dry run").click()
    assert answer.value.status == 403
    ages = re.compile(r"\S+ (s|min|h) ago")
    page.goto(URL + "/plan")
    assert ages.sub("", page.locator("main").inner_text()) == ages.sub("", before)
    other.close()
    context.close()


def a_page_of_elsewhere_does_nothing(browser):
    """With the code too: a form on another origin, which is the same site, so that the cookie comes along."""
    context, page, _ = at(browser)
    log_in(page)
    code = page.locator("main input[name=code]").get_attribute("value")
    elsewhere = f"http://127.0.0.1:1/{time.time()}"
    page.route(elsewhere, lambda route: route.fulfill(
        content_type="text/html",
        body=f'<form method=post action="{URL}/plan"><input name=code value={code}><button>Go</button></form>',
    ))
    page.goto(elsewhere)
    with page.expect_response(lambda one: one.request.method == "POST") as answer:
        page.get_by_role("button", name="Go").click()
    assert answer.value.status == 403, answer.value.status
    context.close()


def the_keyboard_is_enough(browser):
    context, page, watch = at(browser)
    page.goto(URL + "/")
    # The field gets the focus by itself, with the first frame that is drawn: after the page is loaded.
    expect(page.get_by_label("Token of this daemon")).to_be_focused()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Status")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    assert skip.evaluate("one => one.getBoundingClientRect().top >= 0")
    assert skip.evaluate("one => parseFloat(getComputedStyle(one).outlineWidth) >= 2")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.textContent")
        assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2"), focused
        if "dry run" in focused:
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Plan")
    expect(page.get_by_role("heading", name="Person by person")).to_be_visible()
    watch.expect_nothing()
    context.close()


def a_phone_shows_it_without_going_sideways(browser):
    context, page, watch = at(browser, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    log_in(page)
    for path in PAGES:
        page.goto(URL + path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, (path, width)
        inner = page.evaluate("[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > 361 && e.checkVisibility() && !e.closest('thead')).length")
        assert inner == 0, (path, inner)
    page.goto(URL + "/")
    page.screenshot(path=f"{FOLDER}/phone.png", full_page=True)
    page.goto(URL + "/plan")
    page.screenshot(path=f"{FOLDER}/phone-plan.png", full_page=True)
    watch.expect_nothing()
    context.close()


def light_and_dark_can_be_read(browser):
    for scheme in ["light", "dark"]:
        context, page, watch = at(browser, color_scheme=scheme)
        page.goto(URL + "/login")
        ratios = [page.evaluate(CONTRAST)]
        log_in(page)
        for path in PAGES:
            page.goto(URL + path)
            page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
            ratios.append(page.evaluate(CONTRAST))
        worst = min(ratios)
        assert worst[0] >= 4.5, (scheme, worst)
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", back)[:3])) < 200) == (scheme == "dark"), back
        if scheme == "dark":
            for name, path in [("dark", "/"), ("dark-history", "/history"), ("dark-person", PAGES[5]), ("dark-run", "/runs/1"), ("dark-hold", "/holds/1")]:
                page.goto(URL + path)
                page.screenshot(path=f"{FOLDER}/{name}.png", full_page=True)
        watch.expect_nothing()
        context.close()


def a_report_is_filtered_and_searched(browser):
    context, page, watch = at(browser, REPORT)
    page.goto(REPORT)
    expect(page.get_by_role("heading", level=1)).to_have_text("Plan of a sync")
    assert page.evaluate("window.owned") is None
    assert page.locator("main img, main b:not(.tiles b)").count() == 0
    shown = page.locator(".items > li:visible")
    everything = shown.count()
    grace = shown.filter(has_text="Grace Hopper")
    expect(grace.locator("del")).to_contain_text("Engineer")
    expect(grace.locator("ins")).to_contain_text("Admiral")
    page.get_by_role("searchbox").fill("grace ADMIRAL")
    expect(shown).to_have_count(1)
    expect(page.locator("output")).to_have_text("1 shown")
    page.get_by_role("searchbox").fill("nobody is called so")
    expect(shown).to_have_count(0)
    page.get_by_role("searchbox").fill("")
    page.get_by_label("update", exact=True).check()
    expect(page.locator("section:visible")).to_have_count(1)
    page.get_by_label("update", exact=True).uncheck()
    expect(shown).to_have_count(everything)
    page.get_by_role("link", name="Update").click()
    assert page.url.startswith(REPORT + "#s"), page.url
    # Through the debugger, as the policy lets no other script in.
    page.evaluate("""() => { const script = document.createElement('script'); script.textContent = 'window.owned = 1'; document.body.append(script); }""")
    assert page.evaluate("window.owned") is None
    watch.wrong = [one for one in watch.wrong if "Content Security Policy" not in one]
    watch.expect_nothing()
    context.close()


def a_report_can_be_read_by_everybody_and_printed(browser):
    for options in [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 700}}]:
        context, page, watch = at(browser, REPORT, **options)
        page.goto(REPORT)
        worst = page.evaluate(CONTRAST)
        assert worst[0] >= 4.5, (options, worst)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), options
        page.evaluate(AXE)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations'], elementRef: false, preload: false})")["violations"]
        told = [(one["id"], [node["html"][:150] for node in one["nodes"]]) for one in found]
        assert told == [], told
        name = options.get("color_scheme", "phone")
        page.screenshot(path=f"{FOLDER}/report-{name}.png", full_page=True)
        watch.expect_nothing()
        context.close()
    context, page, watch = at(browser, REPORT, java_script_enabled=False)
    page.goto(REPORT)
    expect(page.locator(".items > li").first).to_be_visible()
    expect(page.locator(".filter")).to_be_hidden()
    assert len(page.pdf(path=f"{FOLDER}/report.pdf")) > 10_000
    watch.expect_nothing()
    context.close()


CHECKS = [
    a_report_is_filtered_and_searched,
    a_report_can_be_read_by_everybody_and_printed,
    the_login_takes_the_token_once,
    it_is_read_without_a_script,
    a_dry_run_is_made_at_a_click,
    every_page_is_accessible_and_names_do_nothing,
    the_policy_lets_nothing_else_run,
    nothing_is_done_without_the_code_of_the_session,
    a_page_of_elsewhere_does_nothing,
    the_keyboard_is_enough,
    a_phone_shows_it_without_going_sideways,
    light_and_dark_can_be_read,
]

with sync_playwright() as playwright:
    # --no-sandbox: Chromium has none as root.
    browser = playwright.chromium.launch(
        executable_path=os.environ["CHROMIUM"], args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    )
    for check in CHECKS:
        begun = time.monotonic()
        check(browser)
        print(f"{check.__name__}: {time.monotonic() - begun:.1f} s", flush=True)
    browser.close()
print("all is well")

"""The page: what it says, that it is self-contained, and that it works in a browser."""

import json
import re
from html.parser import HTMLParser

import pytest

from lamina import layers
from lamina.core import naming
from lamina.errors import ArgumentError, NotBuiltError
from lamina.models import Model, Sequential
from lamina.visualization.html import repr_html, to_html
from tests.guide.models import mlp, nested_autoencoder, tickets
from tests.visualization.chromium import PROGRAM, Browser
from tests.visualization.models import ALL, everything


@pytest.fixture(autouse=True)
def _fresh_names():
    naming.reset()


class Elements(HTMLParser):
    """All elements of a page, as (tag, attributes), and the text inside of each tag."""

    def __init__(self, page):
        super().__init__()
        self.found, self.texts, self._open = [], {}, None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data):
        self.texts.setdefault(self._open, []).append(data)


def data_of(page):
    text = re.search(r'<script type="application/json" id="model">(.*?)</script>', page, re.DOTALL)
    return json.loads(text[1])["diagram"]


def boxes_of(diagram):
    found = {}
    for box in diagram["boxes"]:
        found[box["path"]] = box
        if box["inside"]:
            found |= boxes_of(box["inside"])
    return found


# ---- what it says --------------------------------------------------------------------------------


def test_page_needs_nothing_from_outside():
    page = to_html(everything())
    elements = Elements(page)
    for tag, attributes in elements.found:
        assert tag not in ("link", "img", "iframe", "object", "base")
        assert not {k for k in attributes if k.startswith("on") or k in ("src", "href")}
    urls = set(re.findall(r"https?://[^\"'\s)]+", page))
    assert urls <= {"http://www.w3.org/2000/svg"}
    policy = next(a["content"] for t, a in elements.found if a.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


@pytest.mark.parametrize("make", ALL)
def test_boxes_lie_apart_and_within(make):
    def check(diagram):
        sides = [(b["x"], b["y"], b["w"] / 2, b["h"] / 2) for b in diagram["boxes"]]
        spans = [(x - w, y - h, x + w, y + h) for x, y, w, h in sides]
        for i, (x0, y0, x1, y1) in enumerate(spans):
            assert x0 >= 0
            assert y0 >= 0
            assert x1 <= diagram["w"]
            assert y1 <= diagram["h"]
            assert all(x1 <= p or r <= x0 or y1 <= q or s <= y0 for p, q, r, s in spans[:i])
        for box in diagram["boxes"]:
            if box["inside"]:
                check(box["inside"])

    check(data_of(to_html(make())))


def test_wires_join_ports():
    outer = data_of(to_html(everything()))
    names = [b["path"] for b in outer["boxes"]]
    wires = {(names[w["start"][0]], w["start"][1], names[w["stop"][0]], w["stop"][1])
             for w in outer["wires"]}  # fmt: skip
    assert {("numbers", 0, "shared", 0), ("mean", 0, "shared", 1), ("shared", 0, "shared", 2),
            ("splitter", 0, "sum", 0), ("splitter:2", 1, "sum", 1), ("splitter:2", 0, "wrap", 0),
            ("wrap", 0, "sum", 2), ("shared", 2, "part", 0)} <= wires  # fmt: skip
    splitter = boxes_of(outer)["splitter"]["inside"]
    assert [b["path"] for b in splitter["boxes"]] == ["splitter/both", "splitter/halves"]
    inner = {(*w["start"], *w["stop"]) for w in splitter["wires"]}
    assert inner == {(-1, 0, 0, 0), (0, 0, 1, 0), (1, 0, -1, 0), (1, 1, -1, 1)}


def test_boxes_say_what_they_hold():
    model = everything()
    model.get_layer("shared").trainable = False
    boxes = boxes_of(data_of(to_html(model)))
    mix, shared = boxes["mix"], boxes["shared"]
    assert (mix["kind"], mix["params"], mix["role"]) == ("Dense", "72", "layer")
    assert mix["gives"] == [{"shape": "(None, time, 8)", "dtype": "float32"}]
    assert {"Class": "Dense", "Parameters": "72", "Trainable": "yes", "Dtype": "float32",
            "Arguments": "units=8"}.items() <= dict(mix["facts"]).items()  # fmt: skip
    assert [w["name"] for w in mix["weights"]] == ["kernel", "bias"]
    assert dict(shared["facts"])["Trainable"] == "no"
    assert "frozen" in shared["chips"]
    assert [c["reads"][0]["from"] for c in shared["calls"]] == ["numbers", "mean", "shared"]
    assert boxes["part"]["kind"] == "GetItem[:, 0:3]"
    assert boxes["splitter:2"]["chips"] == ["call 2 of 2"]
    assert boxes["sum"]["gives"][0]["output"] == "main"
    assert re.fullmatch(r"models\.py:\d+", dict(mix["facts"])["Called at"])


def test_masks_start_pass_and_end():
    outer = data_of(to_html(everything()))
    boxes = boxes_of(outer)
    facts = {
        name: dict(boxes[name]["facts"]).get("Mask") for name in ("embed", "mix", "mean", "sum")
    }
    assert facts == {"embed": "created here", "mix": "propagated",
                     "mean": "used, not propagated", "sum": None}  # fmt: skip
    names = [b["path"] for b in outer["boxes"]]
    masked = {(names[w["start"][0]], names[w["stop"][0]]) for w in outer["wires"] if w["masked"]}
    assert masked == {("embed", "mix"), ("mix", "mean")}


def test_names_are_text():
    name = "<script>alert(1)<!-- \"&amp;'>"
    x = layers.Input((2,), name="<img src=x onerror=alert(1)>")
    model = Model(x, layers.Dense(2, name=name)(x), name="<b>${data}")
    for page in (to_html(model), repr_html(model)):
        elements = Elements(page)
        assert not {"b", "img"} & {t for t, _ in elements.found if t == "img"}
        assert sum(t == "script" for t, _ in elements.found) == 2 * page.startswith("<!doctype")
    assert name in boxes_of(data_of(to_html(model)))
    assert Elements(to_html(model)).texts["title"][0] == "<b>${data}"


def test_written_file_is_the_page(tmp_path):
    path = tmp_path / "model.html"
    assert to_html(tickets(), path) == path.read_text(encoding="utf-8")
    with pytest.raises(NotBuiltError):
        to_html(Sequential([layers.Dense(3)]), path)
    assert path.stat().st_size > 10_000
    assert [p.name for p in tmp_path.iterdir()] == ["model.html"]


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match="Expected a model"):
        to_html("mlp")


def test_models_without_graph():
    class Own(Model):
        def __init__(self):
            super().__init__(name="own")
            self.inner = layers.Dense(3)

        def call(self, inputs):
            return self.inner(inputs)

    model = Own()
    assert "own" in repr_html(model)
    model.build((None, 4))
    (box,) = data_of(to_html(model))["boxes"]
    assert (box["name"], box["params"]) == ("own", "15")


def test_notebook_form_lists_all_layers_in_a_scrolling_frame():
    model = nested_autoencoder()
    text = model._repr_html_()
    assert text == repr_html(model)
    assert text.startswith('<div style="max-height')
    assert all(name in text for name in ("img", "conv2d", "conv2d_transpose_3"))


def test_a_thousand_layers():
    y = x = layers.Input((2,))
    for i in range(990):
        y = layers.Dense(2, name=f"d{i}")(y)
    assert len(data_of(to_html(Model(x, y)))["boxes"]) == 991


# ---- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if PROGRAM is None:
        pytest.skip("no Chromium found; `apt-get install chromium` lets these tests run")
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def show(browser, tmp_path):
    def show(model):
        path = tmp_path / "model.html"
        to_html(model, path)
        browser.open(path)
        return browser

    yield show
    assert browser.problems == []


def visible(page):
    return page.run(
        "[...document.querySelectorAll('.box')].filter(b => b.offsetParent)"
        ".map(b => b.querySelector('.name').textContent)"
    )


OVERLAPS = """(() => {
  const inside = (a, b) => a.left >= b.left && a.right <= b.right && a.top >= b.top
    && a.bottom <= b.bottom;
  const rects = [...document.querySelectorAll('.box')].filter(b => b.offsetParent)
    .map(b => b.getBoundingClientRect());
  return rects.filter((a, i) => rects.slice(0, i).some(b => !(a.right <= b.left || b.right <= a.left
    || a.bottom <= b.top || b.bottom <= a.top || inside(a, b) || inside(b, a)))).length;
})()"""
CUT = """[...document.querySelectorAll('.head > span, .gives > span')]
  .filter(e => e.offsetParent && e.scrollWidth > e.clientWidth).map(e => e.textContent)"""
# The wires that do not end at their ports: on the boxes' borders, at the middle of the port's cell,
# and, at the border of an open model, where the wire goes on inside.
LOOSE = """(() => {
  const loose = [], off = (a, b) => Math.abs(a - b) > 1.5;
  const ends = (home, wire) => {
    const { left, top } = home.element.getBoundingClientRect();
    return [0, wire.element.getTotalLength()].map(length => wire.element.getPointAtLength(length))
      .map(p => [left + p.x, top + p.y]);
  };
  const check = home => home.wires.forEach(wire => {
    const [[x0, y0], [x1, y1]] = ends(home, wire);
    const giver = home.boxes[wire.start[0]], reader = home.boxes[wire.stop[0]];
    if (giver) {
      const cell = giver.giving[wire.start[1]].getBoundingClientRect();
      if (off(x0, cell.left + cell.width / 2)) loose.push(`${giver.path} gives beside its port`);
      if (off(y0, giver.element.getBoundingClientRect().bottom)) loose.push(`${giver.path} gives`);
      const inner = giver.open ? giver.inside.wires.filter(w => w.stop[0] < 0) : [];
      inner.filter(w => w.stop[1] === wire.start[1]).forEach(w => {
        if (off(x0, ends(giver.inside, w)[1][0])) loose.push(`${giver.path} breaks a wire`);
      });
    }
    if (reader) {
      if (off(y1, reader.element.getBoundingClientRect().top)) loose.push(`${reader.path} reads`);
      const inner = reader.open ? reader.inside.wires.filter(w => w.start[0] < 0) : [];
      inner.filter(w => w.start[1] === wire.stop[1]).forEach(w => {
        if (off(x1, ends(reader.inside, w)[0][0])) loose.push(`${reader.path} breaks a wire`);
      });
    }
  });
  check(root);
  every.filter(box => box.open).forEach(box => check(box.inside));
  return loose;
})()"""


def test_page_opens_and_nested_models_open_and_close(show):
    page = show(nested_autoencoder())
    assert visible(page) == ["img", "encoder", "decoder"]
    page.run("document.querySelectorAll('.head')[1].click()")
    assert visible(page) == [
        "img", "encoder", "original_img", "conv2d", "conv2d_1", "max_pooling2d", "conv2d_2",
        "conv2d_3", "global_max_pooling2d", "decoder",
    ]  # fmt: skip
    assert page.run("document.querySelectorAll('.head')[1].getAttribute('aria-expanded')") == "true"
    page.run("document.getElementById('open').click()")
    assert len(visible(page)) == 17
    page.run("document.getElementById('close').click()")
    assert visible(page) == ["img", "encoder", "decoder"]


@pytest.mark.parametrize("make", ALL)
def test_nothing_overlaps_or_is_cut_and_wires_hold(show, make):
    page = show(make())
    for _ in range(2):  # closed, then open
        assert page.run(OVERLAPS) == 0
        assert page.run(CUT) == []
        assert page.run(LOOSE) == []
        page.run("document.getElementById('open').click()")


def test_search_finds_a_layer_in_a_closed_model(show):
    page = show(nested_autoencoder())
    page.press("/")
    for key in "Transpose_2":
        page.press(key)
    assert page.run("document.getElementById('found').value") == "1 of 1"
    assert page.run("document.querySelector('.hit .name').textContent") == "conv2d_transpose_2"
    assert "encoder" in visible(page)
    assert "conv2d" not in visible(page)
    assert page.run("document.querySelector('#details h2').textContent") == "conv2d_transpose_2"
    assert page.run("(r => r.top > 0 && r.bottom < innerHeight)"
                    "(document.querySelector('.hit').getBoundingClientRect())")  # fmt: skip
    for key in "zzz":
        page.press(key)
    assert page.run("document.getElementById('found').value") == "none"


def test_enter_goes_from_hit_to_hit(show):
    page = show(mlp())
    page.run("document.getElementById('search').focus()")
    for key in "DENSE":
        page.press(key)
    found = []
    for _ in range(4):
        found.append(page.run("document.querySelector('#details h2').textContent"))
        page.press("Enter")
    assert found == ["dense", "dense_1", "dense_2", "dense"]


def test_keyboard_moves_opens_and_shows(show):
    page = show(nested_autoencoder())
    page.run("document.querySelector('.head').focus()")
    focus = "document.activeElement.querySelector('.name')?.textContent"
    page.press("ArrowDown")
    assert page.run(focus) == "encoder"
    assert page.run("document.querySelector('#details h2').textContent") == "encoder"
    page.press("Enter")
    assert "conv2d" in visible(page)
    page.press("ArrowDown")
    assert page.run(focus) == "original_img"
    page.press("ArrowUp")
    assert page.run(focus) == "encoder"
    assert page.run("document.querySelectorAll('.head[tabindex=\"0\"]').length") == 1


def test_hovering_shows_details_and_leaving_returns(show):
    page = show(tickets())
    title = "document.querySelector('#details h2').textContent"
    assert page.run(title) == "title"
    x, y = page.run(
        "(r => [r.left + 20, r.top + 20])([...document.querySelectorAll('.box')]"
        ".find(b => b.innerText.includes('department')).getBoundingClientRect())"
    )
    page.move(x, y)
    assert page.run(title) == "department"
    assert page.run("document.querySelectorAll('.wire.on').length") == 1
    page.move(5, 300)
    assert page.run(title) == "title"


def test_light_and_dark_follow_the_reader(show):
    page = show(mlp())
    luminance = (
        "getComputedStyle(document.body).backgroundColor"
        ".match(/\\d+/g).map(Number).reduce((a, b) => a + b)"
    )
    page.scheme("light")
    light = page.run(luminance)
    page.scheme("dark")
    assert light > 700
    assert page.run(luminance) < 120


def test_hostile_names_stay_text(show):
    x = layers.Input((2,), name="<!--<script>")
    inner = Model(x, layers.Dense(2, name="<script>alert(1)")(x), name="\"><svg onload='alert(1)'>")
    z = layers.Input((2,), name="<img src=x onerror=alert(1)>")
    page = show(Model(z, inner(z), name="<b>bold"))
    page.run("document.getElementById('open').click()")
    assert page.run("document.querySelectorAll('img, .box script, h1 b').length") == 0
    assert "<script>alert(1)" in visible(page)
    assert page.run("document.title") == "<b>bold"

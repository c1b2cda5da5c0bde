// Filter and search: without it everything is there to read.
const filter = document.querySelector(".filter");
if (filter) {
  const search = filter.querySelector("input[type=search]");
  const found = filter.querySelector("output");
  const sections = [...document.querySelectorAll("section[data-part]")].map((section) => ({
    section,
    items: [...section.querySelectorAll(".items > li")].map((item) => [item, item.textContent.toLowerCase()]),
  }));
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const parts = new Set([...filter.querySelectorAll("input[type=checkbox]:checked")].map((box) => box.value));
    let count = 0;
    for (const { section, items } of sections) {
      const isMeant = parts.size === 0 || parts.has(section.dataset.part);
      let shown = 0;
      for (const [item, text] of items) {
        item.hidden = !isMeant || !words.every((word) => text.includes(word));
        if (!item.hidden) shown += 1;
      }
      section.hidden = shown === 0;
      count += shown;
    }
    found.value = `${count.toLocaleString("en")} shown`;
  };
  let later;
  search.addEventListener("input", () => {
    clearTimeout(later);
    later = setTimeout(show, 100);
  });
  filter.addEventListener("change", show);
  filter.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  filter.hidden = false;
  show();
}

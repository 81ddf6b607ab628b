// Asks the server whether there is another page; takes it where the reader was, with what was unfolded.
(() => {
  const { version, note } = document.currentScript.dataset;
  const said = document.getElementById("watching");
  const KEY = "optbench-place";
  const sections = () => [...document.querySelectorAll("section[id]")];
  const folded = () => [...document.querySelectorAll("details")];
  const name = (fold) => `${fold.closest("section")?.id} ${fold.querySelector("summary")?.textContent}`;

  function leave() {
    const above = sections().filter((s) => s.getBoundingClientRect().top <= 1).pop();
    const beyond = above ? -above.getBoundingClientRect().top : scrollY;
    const open = folded().filter((fold) => fold.open).map(name);
    sessionStorage.setItem(KEY, JSON.stringify({ id: above?.id, beyond, open }));
    history.scrollRestoration = "manual";
    location.reload();
  }

  function comeBack() {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    sessionStorage.removeItem(KEY);
    if (!kept) return;
    folded().forEach((fold) => { fold.open = fold.open || kept.open.includes(name(fold)); });
    const above = document.getElementById(kept.id);
    scrollTo(0, kept.beyond + (above ? above.getBoundingClientRect().top + scrollY : 0));
    history.scrollRestoration = "auto";
  }

  let failed = 0;
  async function ask() {
    try {
      const answer = await fetch("version", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      failed = 0;
      said.textContent = note || "Watching: this page follows its runs.";
      if ((await answer.text()).trim() !== version) leave();
    } catch {
      failed += 1;
      if (failed > 1) said.textContent = "optbench is no longer watching: this is the last page.";
    }
  }

  addEventListener("load", () => {
    comeBack();
    setInterval(() => document.hidden || ask(), 2000);
    document.addEventListener("visibilitychange", () => document.hidden || ask());
  });
})();

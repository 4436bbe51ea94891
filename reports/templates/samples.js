// The browser of samples. An address says what it shows: #samples/domain/method/task+task/category+category/question.

const catalogue = JSON.parse(document.getElementById("catalogue").textContent);
const browser = document.querySelector("#samples .browser");
const pick = browser.querySelector(".pick");
const list = browser.querySelector(".questions");
const shown = browser.querySelector(".question");
const status = browser.querySelector(".status");
const UNREADABLE = new Set(catalogue.unreadable);
const loaded = new Map();
const waiting = new Map();
let state = { tasks: [], questions: [], open: null };

/** Called by the files of samples. */
window.chordSamples = (key, packed) => {
  unpack(packed).then((text) => waiting.get(key)?.(JSON.parse(text)));
};

function load(key) {
  if (!loaded.has(key)) {
    loaded.set(key, new Promise((resolve, reject) => {
      waiting.set(key, resolve);
      const script = element("script", { src: `${catalogue.folder}/${catalogue.files[key]}` });
      script.onerror = () => reject(new Error(`${catalogue.folder}/${catalogue.files[key]} is not beside this page`));
      document.head.append(script);
    }));
  }
  return loaded.get(key);
}

const keysOf = (part) => Object.keys(catalogue.files).map((key) => key.split("/")).filter(part);
const unique = (values) => [...new Set(values)];

function fill(select, values, chosen, name = (value) => value) {
  select.replaceChildren(...values.map((value) => element("option", { value, text: name(value) })));
  select.value = values.includes(chosen) ? chosen : values[0];
  return select.value;
}

/** The selects for an address's parts; returns the tasks that are asked for. */
function choose(domain, method, asked, categories) {
  const domains = unique(keysOf(() => true).map(([first]) => first));
  domain = fill(pick.domain, domains, domain, (value) => catalogue.domains[value]);
  const methods = unique(keysOf(([first]) => first === domain).map(([, second]) => second));
  method = fill(pick.method, methods, method, (value) => catalogue.methods[value]);
  const tasks = keysOf(([first, second]) => first === domain && second === method).map(([, , third]) => third);
  const several = asked.includes("+") && asked.split("+").every((task) => tasks.includes(task)) ? [asked] : [];
  asked = fill(pick.task, [...tasks, ...several], asked, (value) => value.replaceAll("+", " + "));
  pick.dataset.categories = categories;
  return asked.split("+").map((task) => `${domain}/${method}/${task}`);
}

function fillCategories() {
  const wanted = pick.dataset.categories || "";
  const there = unique(state.questions.map((question) => question.category).filter(Boolean));
  const several = wanted.includes("+") ? [wanted] : [];
  fill(pick.category, ["", ...several, ...there], wanted, (value) => value.replaceAll("+", " + ") || "all");
  pick.category.parentElement.hidden = there.length === 0;
}

const verdictOf = (sample) => (sample.correct ? "correct" : UNREADABLE.has(sample.reason) ? "unreadable" : "wrong");

function matches(question) {
  const categories = pick.category.value ? pick.category.value.split("+") : null;
  if (categories && !categories.includes(question.category)) return false;
  if (pick.verdict.value && !question.samples.some((sample) => verdictOf(sample) === pick.verdict.value)) return false;
  const text = pick.text.value.trim().toLowerCase();
  if (!text) return true;
  return [question.prompt, ...question.samples.map((sample) => sample.response)].some((part) => part.toLowerCase().includes(text));
}

function textOf(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function sampleView(sample) {
  const verdict = verdictOf(sample);
  const said = sample.score !== null && sample.reason === "judged" ? `score ${(100 * sample.score).toFixed(0)} %` : sample.reason.replaceAll("_", " ");
  const head = `seed ${sample.seed}, sample ${sample.sample}: ${said}, ${sample.tokens} tokens${sample.truncated ? ", cut off" : ""}`;
  const read = element("p", { className: "note" }, "Read as: ", element("code", { text: sample.extracted === null ? "nothing" : visible(textOf(sample.extracted)) }));
  return element("article", { className: `sample ${verdict}` }, element("h5", { text: head }), element("pre", { text: visible(sample.response) }), read);
}

function showQuestion(question) {
  state.open = question;
  for (const button of list.querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.id === question?.id));
  shown.replaceChildren();
  if (!question) return;
  const wanted = pick.verdict.value;
  const samples = question.samples.filter((sample) => !wanted || verdictOf(sample) === wanted);
  shown.append(
    element("h4", { text: [question.id, question.category].filter(Boolean).join(" · ") }),
    element("pre", { className: "prompt", text: visible(question.prompt) }),
    element("p", { className: "note" }, "Right answer: ", element("code", { text: visible(textOf(question.gold)) })),
    ...samples.map(sampleView),
  );
}

function address(question) {
  const categories = pick.category.value ? pick.category.value.split("+").map(encodeURIComponent).join("+") : "";
  const parts = [pick.domain.value, pick.method.value, pick.task.value, categories, question ? encodeURIComponent(question.id) : ""];
  return `#samples/${parts.join("/").replace(/\/+$/, "")}`;
}

function questionButton(question) {
  const right = question.samples.filter((sample) => sample.correct).length;
  const button = element("button", { type: "button" }, element("span", { text: question.id }), element("small", { text: `${right} of ${question.samples.length} right` }));
  button.dataset.id = question.id;
  button.addEventListener("click", () => {
    history.replaceState(null, "", address(question));
    showQuestion(question);
  });
  return element("li", {}, button);
}

function showList(wanted) {
  const found = state.questions.filter(matches);
  const samples = found.reduce((sum, question) => sum + question.samples.length, 0);
  status.textContent = `${found.length} of ${state.questions.length} questions, ${samples} samples`;
  list.replaceChildren(...found.map(questionButton));
  showQuestion(found.find((question) => question.id === wanted) || found[0] || null);
}

function withNames(file) {
  return file.questions.map((question) => ({
    ...question,
    samples: question.samples.map((values) => Object.fromEntries(values.map((value, at) => [file.fields[at], value]))),
  }));
}

async function open(parts) {
  const [domain, method, asked = "", categories = "", question = ""] = parts.map(decodeURIComponent);
  const keys = choose(domain, method, asked, categories);
  state.tasks = keys;
  status.textContent = "…";
  try {
    const files = await Promise.all(keys.map(load));
    if (state.tasks !== keys) return; // another was asked for meanwhile
    state.questions = files.flatMap(withNames);
    fillCategories();
    showList(question);
  } catch (error) {
    loaded.clear();
    status.textContent = `Not to be shown: ${error.message}.`;
    list.replaceChildren();
    shown.replaceChildren();
  }
}

function follow() {
  const route = location.hash.match(/^#samples\/(.+)$/);
  if (!route) return;
  open(route[1].split("/"));
  document.getElementById("samples").scrollIntoView();
}

/** Another method or task keeps the question that is open, so that answers to it can be compared. */
async function change(event) {
  const name = event.target.name;
  if (name === "text" || name === "verdict" || name === "category") {
    if (name === "category") pick.dataset.categories = pick.category.value;
    showList(state.open?.id);
    return;
  }
  const kept = name === "method" ? [pick.category.value, state.open?.id || ""] : ["", ""];
  await open([pick.domain.value, pick.method.value, name === "domain" ? "" : pick.task.value, ...kept].map(encodeURIComponent));
  history.replaceState(null, "", address(state.open));
}

browser.hidden = false;
pick.addEventListener("submit", (event) => event.preventDefault());
pick.addEventListener("change", change);
pick.text.addEventListener("input", () => showList(state.open?.id));
window.addEventListener("hashchange", follow);
follow();

// Who comes here by scrolling sees the first method's answers.
new IntersectionObserver((entries, observer) => {
  const [first] = keysOf(() => true);
  if (!first || !entries.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  if (!state.tasks.length) open(first.map(encodeURIComponent));
}).observe(browser);

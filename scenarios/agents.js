// What the users of three agent teams do all day, for k6: the same teams, tasks, questions and think times as
// agents.py, which is where to change them first (a test compares the two). Answers are read whole: k6 does not stream.
//
// It runs by itself as well:   k6 run -e HOST=http://127.0.0.1:8000 scenarios/agents.js
//
// A workload is a plain k6 script. `agentstorm run --engine k6` takes from it
//
// - the default function: one task, which makes exactly one request, with http from "k6/http";
// - `think`, seconds a user waits between two tasks, in loads that have users;
// - `timeout`, seconds a request may take: so many VUs are kept ready that a stall of this length holds up no arrival.
//
// A URL without a host goes to the target. The tags say which team, agent and tenant a request belongs to.

import exec from "k6/execution";
import http from "k6/http";

export const timeout = 30;

export function think() {
  return 2 + 8 * Math.random();
}

const HOST = __ENV.HOST || "";
const REPEATED = 0.45; // share of questions taken word for word; the rest are asked about something new each time

function pick(list, weight) {
  let left = Math.random() * list.reduce((sum, item, index) => sum + weight(item, index), 0);
  return list.find((item, index) => (left -= weight(item, index)) < 0) || list[list.length - 1];
}

// One of the known (the first ones far more often, as in life), or a new one like them.
function question(known) {
  const text = pick(known, (_, index) => 1 / (index + 1));
  if (Math.random() < REPEATED) return text;
  return `${text} [ref ${String(Math.floor(Math.random() * 1e9)).padStart(9, "0")}]`;
}

function send(team, path, agent, name, body) {
  http.post(`${HOST}/teams/${team}/${path}`, JSON.stringify(body), {
    headers: { "Content-Type": "application/json", "X-MCP-Tenant-ID": team },
    tags: { name: `${team}/${name}`, team, agent: `${team}.${agent}`, tenant: team },
    timeout: `${timeout}s`,
  });
}

// A task for one agent.
function ask(weight, agent, what, known) {
  const run = (team) =>
    send(team, `agents/${agent}/tasks/${what}`, agent, `${agent}/${what}`, { input: question(known), stream: false });
  return { weight, run };
}

// The whole team works on a question, one agent after the other.
function workflow(weight, known) {
  return { weight, run: (team) => send(team, "workflow", "workflow", "workflow", { input: question(known) }) };
}

const TEAMS = [
  {
    // Has meetings analysed.
    name: "meetmind",
    weight: 4,
    tasks: [
      ask(4, "coordinator", "coordinate_meeting_analysis", [
        "Weekly product sync, 45 minutes, 8 people: what has to be analysed, and by whom?",
        "Board meeting on the budget for next year: plan the analysis.",
        "Incident review after Tuesday's outage: plan the analysis.",
        "Customer interview with a logistics company: plan the analysis.",
      ]),
      ask(6, "implementation", "process_meeting_transcript", [
        "Anna: we ship on Friday. Björn: only if the load test passes. Anna: then you own the load test.",
        "Chair: third item, office move. Carl: the lease ends in March. Chair: Dana, get two offers by May.",
        "Eva: churn is up 2 points. Farid: pricing. Eva: prove it, with numbers, before the next review.",
        "Greta: we drop the old API in June. Hugo: three customers still use it. Greta: call them this week.",
      ]),
      ask(2, "implementation", "implement_analysis_pipeline", [
        "Extract decisions, owners and dates from transcripts in two languages.",
        "Summarise a meeting within a minute of its end.",
        "Find topics that come back in meeting after meeting without a decision.",
      ]),
      ask(2, "architect", "design_analysis_framework", [
        "Sales calls, 200 a week: which questions should an analysis answer?",
        "Daily stand-ups of six teams: how do we see that one is stuck?",
        "One-to-ones: what may be analysed, and what must not?",
      ]),
      ask(2, "product_manager", "define_requirements", [
        "Meeting notes must be in the ticket system before people are back at their desks.",
        "Managers want to know which meetings could have been an e-mail.",
        "Legal wants every recording gone after 30 days.",
      ]),
      ask(2, "product_manager", "prioritize_features", [
        "Calendar integration, speaker names, action items, search, export to PDF.",
        "Live captions, translation, sentiment, talk-time per person.",
        "Single sign-on, audit log, retention rules, regional storage.",
      ]),
      ask(2, "quality_assurance", "validate_analysis_quality", [
        "Decision: ship on Friday. Owner: Anna. Was that what was said?",
        "The summary names four actions; the transcript has six.",
        "Sentiment is given as positive for a meeting that ended in a walk-out.",
      ]),
      ask(1, "quality_assurance", "test_system_performance", [
        "Analyses must be ready in 60 s for a meeting of one hour.",
        "100 meetings end at the same full hour.",
      ]),
      workflow(1, [
        "Analyse the weekly product sync.",
        "Analyse the board meeting.",
        "Analyse the incident review.",
      ]),
    ],
  },
  {
    // Ställer frågor om bokföring, moms och regelverk, på svenska.
    name: "agentsvea",
    weight: 3,
    tasks: [
      ask(4, "coordinator", "coordinate_compliance_workflow", [
        "Årsbokslut för ett aktiebolag med brutet räkenskapsår: vilka kontroller behövs, och i vilken ordning?",
        "Ny kund, enskild firma med moms varje kvartal: planera granskningen.",
        "Skatteverket begär in underlag för mars: planera vad som ska tas fram.",
      ]),
      ask(5, "product_manager", "analyze_regulatory_requirements", [
        "Vilken momssats gäller för livsmedel, böcker och restaurangbesök?",
        "Hur länge måste verifikationer sparas enligt bokföringslagen?",
        "Får kundregistret ligga hos en leverantör utanför EU enligt GDPR?",
        "När måste en faktura till offentlig sektor vara elektronisk?",
      ]),
      ask(4, "implementation", "implement_accounting_workflow", [
        "Bokför inköp av dator för 14 900 kr inklusive moms enligt BAS-kontoplanen.",
        "Kreditfaktura på 3 200 kr exklusive moms till en kund i Norge.",
        "Skapa en SIE-export typ 4 för räkenskapsåret.",
      ]),
      ask(2, "implementation", "implement_erp_customization", [
        "Attestflöde i två steg för fakturor över 50 000 kr.",
        "Periodisering av hyra över tolv månader.",
        "Automatisk avstämning av konto 1930 mot banken.",
      ]),
      ask(2, "architect", "design_erp_architecture", [
        "Koppla löner, tidrapporter och bokföring utan dubbelregistrering.",
        "Två bolag i en koncern med gemensam kundreskontra.",
      ]),
      ask(3, "quality_assurance", "validate_compliance_accuracy", [
        "Konto 2611 har debetsaldo i momsdeklarationen för april. Stämmer det?",
        "Representation på 1 800 kr bokförd med fullt momsavdrag.",
        "Verifikationsnummer 212 saknas i serien.",
      ]),
      workflow(1, [
        "Gör momsdeklarationen för mars.",
        "Granska årsbokslutet.",
        "Ta fram en SIE-fil för 2024.",
      ]),
    ],
  },
  {
    // Plans, banks and invests.
    name: "feliciasfi",
    weight: 3,
    tasks: [
      ask(3, "coordinator", "execute_workflow", [
        "Rebalance the pension portfolio to 60/40.",
        "Move what is not needed this quarter into short bonds.",
        "Prepare the treasury report for Friday.",
      ]),
      ask(6, "banking", "process_request", [
        "What is the balance of the operating account?",
        "Pay invoice 2024-118, 12 400 SEK, on its due date.",
        "Which card payments of last week are still pending?",
        "Move 50 000 SEK from savings to operations.",
      ]),
      ask(3, "product_manager", "define_strategy", [
        "Preserve capital for three years, accept at most 5 % loss in any of them.",
        "Grow 8 % a year with no exposure to energy.",
        "Keep six months of salaries liquid.",
      ]),
      ask(2, "architect", "design_technical_plan", [
        "A daily risk report before the market opens.",
        "Alerts when one holding exceeds 10 % of the portfolio.",
      ]),
      ask(3, "implementation", "execute_trading_plan", [
        "Sell a third of the position over five days, never more than 10 % of the volume.",
        "Buy index funds for 20 000 SEK on the first trading day of each month.",
        "Hedge half of the dollar exposure until June.",
      ]),
      ask(2, "quality_assurance", "validate_execution_results", [
        "Planned 300 shares at 41.20 or better, bought 280 at 41.35.",
        "The hedge covers 47 %, not 50 %.",
      ]),
      workflow(1, [
        "Plan next quarter's liquidity.",
        "Review the portfolio.",
        "Prepare the trading plan.",
      ]),
    ],
  },
];

// Whose user number n is: by weight, evenly interleaved (smooth weighted round-robin).
function dealt(number) {
  const credit = TEAMS.map(() => 0);
  const total = TEAMS.reduce((sum, team) => sum + team.weight, 0);
  let best = 0;
  for (let n = 0; n <= number % total; n++) {
    TEAMS.forEach((team, k) => (credit[k] += team.weight));
    best = credit.indexOf(Math.max(...credit));
    credit[best] -= total;
  }
  return TEAMS[best];
}

let mine = null;

export default function () {
  const open = exec.scenario.executor.endsWith("arrival-rate"); // each arrival is somebody else
  const team = open ? pick(TEAMS, (t) => t.weight) : (mine = mine || dealt(exec.scenario.iterationInTest));
  pick(team.tasks, (task) => task.weight).run(team.name);
}

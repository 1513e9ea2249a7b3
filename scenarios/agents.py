"""What the users of three agent teams do all day: a plain Locust file, to copy and change.

It runs by itself as well:   locust -f scenarios/agents.py --headless -u 5 -H http://127.0.0.1:8000

Three things here are worth keeping in a workload of your own:

- Every task makes exactly one request, so that a rate of 1000 tasks a minute is 1000 requests a minute.
- `context=` says which team, agent and tenant a request belongs to; reports are broken down by it.
- Part of the questions are repeated. A workload whose every prompt is new says nothing about a cache,
  and one that always asks the same says nothing about anything else.
"""

from __future__ import annotations

import random
from http.client import HTTPException
from typing import Any

from locust import FastHttpUser, between, task

REPEATED = 0.45
"""Share of questions taken word for word from a task's list; the rest are asked about something new each time."""
STREAMED = 0.10
"""Share of answers read as a stream, token by token."""


def question(known: list[str]) -> str:
    """Return a question: one of the `known` (the first ones far more often, as in life), or a new one like them."""
    text = random.choices(known, [1 / rank for rank in range(1, len(known) + 1)])[0]
    return text if random.random() < REPEATED else f"{text} [ref {random.randrange(10**9):09d}]"


class AgentUser(FastHttpUser):
    """Asks one agent, thinks about the answer for 2 to 10 s, asks the next: 100 such users make ~1000 requests/min."""

    abstract = True
    wait_time = between(2, 10)
    network_timeout = 30.0
    connection_timeout = 10.0
    team = ""
    tenant = ""

    def ask(self, agent: str, what: str, known: list[str]) -> None:
        """Give `agent` the task `what`, and wait for the whole answer."""
        streamed = random.random() < STREAMED
        url = f"/teams/{self.team}/agents/{agent}/tasks/{what}"
        self.send(url, agent, f"{self.team}/{agent}/{what}", {"input": question(known), "stream": streamed})

    def run_workflow(self, known: list[str]) -> None:
        """Have the whole team work on a question, one agent after the other: slow, and several calls of a model."""
        self.send(f"/teams/{self.team}/workflow", "workflow", f"{self.team}/workflow", {"input": question(known)})

    def send(self, url: str, agent: str, name: str, body: dict[str, Any]) -> None:
        """Make one request."""
        streamed = body.get("stream", False)
        with self.client.post(
            url,
            json=body,
            name=f"{name} (stream)" if streamed else name,
            headers={"X-MCP-Tenant-ID": self.tenant},
            context={"team": self.team, "agent": f"{self.team}.{agent}", "tenant": self.tenant},
            stream=streamed,
            catch_response=True,
        ) as response:
            if streamed and response.status_code == 200:
                read_stream(response)


def read_stream(response: Any) -> None:
    """Read a stream to its end. Status 200 came with its first byte and says nothing about the rest."""
    try:
        text = b"".join(response.iter_content(decode_content=False))
    except (OSError, HTTPException) as error:
        response.failure(f"stream broke: {type(error).__name__}")
        return
    if b"[DONE]" not in text:
        response.failure("stream ended before its end marker")


class MeetMindUser(AgentUser):
    """Has meetings analysed."""

    team = tenant = "meetmind"
    weight = 4

    @task(4)
    def coordinate(self) -> None:
        self.ask(
            "coordinator",
            "coordinate_meeting_analysis",
            [
                "Weekly product sync, 45 minutes, 8 people: what has to be analysed, and by whom?",
                "Board meeting on the budget for next year: plan the analysis.",
                "Incident review after Tuesday's outage: plan the analysis.",
                "Customer interview with a logistics company: plan the analysis.",
            ],
        )

    @task(6)
    def transcript(self) -> None:
        self.ask(
            "implementation",
            "process_meeting_transcript",
            [
                "Anna: we ship on Friday. Björn: only if the load test passes. Anna: then you own the load test.",
                "Chair: third item, office move. Carl: the lease ends in March. Chair: Dana, get two offers by May.",
                "Eva: churn is up 2 points. Farid: pricing. Eva: prove it, with numbers, before the next review.",
                "Greta: we drop the old API in June. Hugo: three customers still use it. Greta: call them this week.",
            ],
        )

    @task(2)
    def pipeline(self) -> None:
        self.ask(
            "implementation",
            "implement_analysis_pipeline",
            [
                "Extract decisions, owners and dates from transcripts in two languages.",
                "Summarise a meeting within a minute of its end.",
                "Find topics that come back in meeting after meeting without a decision.",
            ],
        )

    @task(2)
    def framework(self) -> None:
        self.ask(
            "architect",
            "design_analysis_framework",
            [
                "Sales calls, 200 a week: which questions should an analysis answer?",
                "Daily stand-ups of six teams: how do we see that one is stuck?",
                "One-to-ones: what may be analysed, and what must not?",
            ],
        )

    @task(2)
    def requirements(self) -> None:
        self.ask(
            "product_manager",
            "define_requirements",
            [
                "Meeting notes must be in the ticket system before people are back at their desks.",
                "Managers want to know which meetings could have been an e-mail.",
                "Legal wants every recording gone after 30 days.",
            ],
        )

    @task(2)
    def priorities(self) -> None:
        self.ask(
            "product_manager",
            "prioritize_features",
            [
                "Calendar integration, speaker names, action items, search, export to PDF.",
                "Live captions, translation, sentiment, talk-time per person.",
                "Single sign-on, audit log, retention rules, regional storage.",
            ],
        )

    @task(2)
    def quality(self) -> None:
        self.ask(
            "quality_assurance",
            "validate_analysis_quality",
            [
                "Decision: ship on Friday. Owner: Anna. Was that what was said?",
                "The summary names four actions; the transcript has six.",
                "Sentiment is given as positive for a meeting that ended in a walk-out.",
            ],
        )

    @task(1)
    def performance(self) -> None:
        self.ask(
            "quality_assurance",
            "test_system_performance",
            ["Analyses must be ready in 60 s for a meeting of one hour.", "100 meetings end at the same full hour."],
        )

    @task(1)
    def workflow(self) -> None:
        self.run_workflow(
            ["Analyse the weekly product sync.", "Analyse the board meeting.", "Analyse the incident review."]
        )


class AgentSveaUser(AgentUser):
    """Ställer frågor om bokföring, moms och regelverk, på svenska."""

    team = tenant = "agentsvea"
    weight = 3

    @task(4)
    def samordna(self) -> None:
        self.ask(
            "coordinator",
            "coordinate_compliance_workflow",
            [
                "Årsbokslut för ett aktiebolag med brutet räkenskapsår: vilka kontroller behövs, och i vilken ordning?",
                "Ny kund, enskild firma med moms varje kvartal: planera granskningen.",
                "Skatteverket begär in underlag för mars: planera vad som ska tas fram.",
            ],
        )

    @task(5)
    def regelverk(self) -> None:
        self.ask(
            "product_manager",
            "analyze_regulatory_requirements",
            [
                "Vilken momssats gäller för livsmedel, böcker och restaurangbesök?",
                "Hur länge måste verifikationer sparas enligt bokföringslagen?",
                "Får kundregistret ligga hos en leverantör utanför EU enligt GDPR?",
                "När måste en faktura till offentlig sektor vara elektronisk?",
            ],
        )

    @task(4)
    def bokforing(self) -> None:
        self.ask(
            "implementation",
            "implement_accounting_workflow",
            [
                "Bokför inköp av dator för 14 900 kr inklusive moms enligt BAS-kontoplanen.",
                "Kreditfaktura på 3 200 kr exklusive moms till en kund i Norge.",
                "Skapa en SIE-export typ 4 för räkenskapsåret.",
            ],
        )

    @task(2)
    def anpassning(self) -> None:
        self.ask(
            "implementation",
            "implement_erp_customization",
            [
                "Attestflöde i två steg för fakturor över 50 000 kr.",
                "Periodisering av hyra över tolv månader.",
                "Automatisk avstämning av konto 1930 mot banken.",
            ],
        )

    @task(2)
    def arkitektur(self) -> None:
        self.ask(
            "architect",
            "design_erp_architecture",
            [
                "Koppla löner, tidrapporter och bokföring utan dubbelregistrering.",
                "Två bolag i en koncern med gemensam kundreskontra.",
            ],
        )

    @task(3)
    def granskning(self) -> None:
        self.ask(
            "quality_assurance",
            "validate_compliance_accuracy",
            [
                "Konto 2611 har debetsaldo i momsdeklarationen för april. Stämmer det?",
                "Representation på 1 800 kr bokförd med fullt momsavdrag.",
                "Verifikationsnummer 212 saknas i serien.",
            ],
        )

    @task(1)
    def arbetsflode(self) -> None:
        self.run_workflow(["Gör momsdeklarationen för mars.", "Granska årsbokslutet.", "Ta fram en SIE-fil för 2024."])


class FeliciasFinanceUser(AgentUser):
    """Plans, banks and invests."""

    team = tenant = "feliciasfi"
    weight = 3

    @task(3)
    def coordinate(self) -> None:
        self.ask(
            "coordinator",
            "execute_workflow",
            [
                "Rebalance the pension portfolio to 60/40.",
                "Move what is not needed this quarter into short bonds.",
                "Prepare the treasury report for Friday.",
            ],
        )

    @task(6)
    def bank(self) -> None:
        self.ask(
            "banking",
            "process_request",
            [
                "What is the balance of the operating account?",
                "Pay invoice 2024-118, 12 400 SEK, on its due date.",
                "Which card payments of last week are still pending?",
                "Move 50 000 SEK from savings to operations.",
            ],
        )

    @task(3)
    def strategy(self) -> None:
        self.ask(
            "product_manager",
            "define_strategy",
            [
                "Preserve capital for three years, accept at most 5 % loss in any of them.",
                "Grow 8 % a year with no exposure to energy.",
                "Keep six months of salaries liquid.",
            ],
        )

    @task(2)
    def technical_plan(self) -> None:
        self.ask(
            "architect",
            "design_technical_plan",
            ["A daily risk report before the market opens.", "Alerts when one holding exceeds 10 % of the portfolio."],
        )

    @task(3)
    def trade(self) -> None:
        self.ask(
            "implementation",
            "execute_trading_plan",
            [
                "Sell a third of the position over five days, never more than 10 % of the volume.",
                "Buy index funds for 20 000 SEK on the first trading day of each month.",
                "Hedge half of the dollar exposure until June.",
            ],
        )

    @task(2)
    def results(self) -> None:
        self.ask(
            "quality_assurance",
            "validate_execution_results",
            ["Planned 300 shares at 41.20 or better, bought 280 at 41.35.", "The hedge covers 47 %, not 50 %."],
        )

    @task(1)
    def workflow(self) -> None:
        self.run_workflow(["Plan next quarter's liquidity.", "Review the portfolio.", "Prepare the trading plan."])

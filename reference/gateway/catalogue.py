"""The three teams: their agents, and each agent's tasks with model, temperature and longest answer."""

from __future__ import annotations

from dataclasses import dataclass

TENANTS = ("meetmind", "agentsvea", "feliciasfi")
# The order in which a team works; banking is asked for by name only.
WORKFLOW = ("coordinator", "architect", "product_manager", "implementation", "quality_assurance")


@dataclass(frozen=True, slots=True)
class Task:
    """One thing an agent can be asked for. `instruction` is put before the user's input."""

    name: str
    temperature: float
    max_tokens: int
    model: str
    instruction: str

    def prompt(self, text: str) -> str:
        """The prompt for a user's input. The same input gives the same prompt, so that it can be cached."""
        return f"{self.instruction}\n\n{text}"


@dataclass(frozen=True, slots=True)
class Agent:
    """A role in a team. The first task is the one a workflow uses."""

    name: str
    system: str
    tasks: dict[str, Task]
    tools: tuple[str, ...] = ()

    @property
    def first_task(self) -> Task:
        """The task a workflow gives this agent."""
        return next(iter(self.tasks.values()))


@dataclass(frozen=True, slots=True)
class Team:
    """A product's agents, by name. `language` is the one its prompts and rule-based answers are in."""

    name: str
    language: str
    agents: dict[str, Agent]


class UnknownNameError(LookupError):
    """There is no such team, agent or task; `allowed` are the names there are."""

    def __init__(self, what: str, name: str, allowed: list[str]) -> None:
        super().__init__(f"unknown {what} {name!r}; allowed: {', '.join(allowed)}")
        self.allowed = allowed


def find(team: str, agent: str, task: str) -> tuple[Team, Agent, Task]:
    """The task by its path. Raises UnknownNameError naming the first part that does not exist."""
    found_team = find_team(team)
    found_agent = found_team.agents.get(agent)
    if found_agent is None:
        raise UnknownNameError("agent", agent, list(found_team.agents))
    found_task = found_agent.tasks.get(task)
    if found_task is None:
        raise UnknownNameError("task", task, list(found_agent.tasks))
    return found_team, found_agent, found_task


def find_team(team: str) -> Team:
    """The team. Raises UnknownNameError."""
    if team not in TEAMS:
        raise UnknownNameError("team", team, list(TEAMS))
    return TEAMS[team]


def _agent(name: str, system: str, *tasks: Task, tools: tuple[str, ...] = ()) -> Agent:
    return Agent(name, system, {task.name: task for task in tasks}, tools)


def _team(name: str, language: str, *agents: Agent) -> Team:
    return Team(name, language, {agent.name: agent for agent in agents})


_SONNET, _SONNET_35, _HAIKU, _FLASH = (
    "claude-3-sonnet",
    "claude-3-5-sonnet",
    "claude-3-haiku",
    "gemini-1.5-flash",
)

_MEETMIND = _team(
    "meetmind",
    "en",
    _agent(
        "coordinator",
        "You coordinate the analysis of meetings and hand out the work to a team of agents.",
        Task("coordinate_meeting_analysis", 0.3, 800, _SONNET_35, "Plan the analysis of this meeting."),
    ),
    _agent(
        "architect",
        "You design how meetings are analysed: what is extracted, in which order and from what.",
        Task("design_analysis_framework", 0.3, 1000, _SONNET_35, "Design an analysis framework for this."),
    ),
    _agent(
        "product_manager",
        "You turn what people say in meetings into requirements and priorities.",
        Task("define_requirements", 0.3, 1200, _SONNET_35, "Write down the requirements stated here."),
        Task("prioritize_features", 0.3, 1500, _SONNET_35, "Put these features in order of value, with reasons."),
    ),
    _agent(
        "implementation",
        "You process transcripts and build the analysis that was designed.",
        Task("implement_analysis_pipeline", 0.3, 800, _SONNET_35, "Describe a pipeline that does this."),
        Task(
            "process_meeting_transcript",
            0.2,
            1000,
            _SONNET_35,
            "List decisions, actions and owners.",
        ),
    ),
    _agent(
        "quality_assurance",
        "You check analyses against their source and measure how well the system works.",
        Task("validate_analysis_quality", 0.2, 800, _HAIKU, "Check this analysis for errors and omissions."),
        Task("test_system_performance", 0.3, 1000, _HAIKU, "Propose the tests that show whether this performs."),
    ),
)

_AGENTSVEA = _team(
    "agentsvea",
    "sv",
    _agent(
        "coordinator",
        "Du samordnar efterlevnadsarbete för svenska företag: GDPR, bokföringslagen och Skatteverkets regler.",
        Task(
            "coordinate_compliance_workflow",
            0.2,
            800,
            _SONNET,
            "Planera arbetet så att alla krav uppfylls, med ansvarig och tidpunkt för varje steg.",
        ),
    ),
    _agent(
        "architect",
        "Du utformar affärssystem enligt BAS-kontoplanen och svensk redovisningssed.",
        Task("design_erp_architecture", 0.3, 1000, _SONNET, "Utforma lösningen i affärssystemet för detta."),
        tools=("sync_erp_document",),
    ),
    _agent(
        "product_manager",
        "Du analyserar svenska regelverk och översätter dem till krav på system och rutiner.",
        Task(
            "analyze_regulatory_requirements",
            0.2,
            1000,
            _SONNET,
            "Vilka krav i GDPR, bokföringslagen och momslagen gäller här?",
        ),
        tools=("check_swedish_compliance",),
    ),
    _agent(
        "implementation",
        "Du bygger anpassningar och bokföringsflöden: kontering, moms och SIE-export.",
        Task("implement_erp_customization", 0.3, 1000, _SONNET, "Beskriv anpassningen steg för steg."),
        Task(
            "implement_accounting_workflow",
            0.3,
            1000,
            _SONNET,
            "Beskriv bokföringsflödet med BAS-konton, moms och SIE-export.",
        ),
        tools=("validate_bas_account", "sync_erp_document"),
    ),
    _agent(
        "quality_assurance",
        "Du granskar att bokföring och personuppgiftshantering följer svensk lag.",
        Task("validate_compliance_accuracy", 0.2, 1000, _SONNET, "Granska följande och peka ut varje avvikelse."),
        tools=("check_swedish_compliance", "validate_bas_account"),
    ),
)

_FELICIASFI = _team(
    "feliciasfi",
    "en",
    _agent(
        "coordinator",
        "You run financial workflows from strategy to execution and keep a record of each decision.",
        Task("execute_workflow", 0.2, 600, _SONNET_35, "Plan the workflow that answers this request."),
    ),
    _agent(
        "architect",
        "You turn a financial strategy into a technical plan with limits and controls.",
        Task("design_technical_plan", 0.2, 800, _SONNET_35, "Write the technical plan for this strategy."),
    ),
    _agent(
        "product_manager",
        "You define investment strategies with goals, horizon and limits of risk.",
        Task("define_strategy", 0.4, 400, _SONNET_35, "Define a strategy for this goal."),
        tools=("analyze_financial_risk",),
    ),
    _agent(
        "implementation",
        "You execute trading plans exactly as written and report each order.",
        Task("execute_trading_plan", 0.1, 600, _SONNET_35, "List the orders that carry out this plan."),
        tools=("optimize_portfolio",),
    ),
    _agent(
        "quality_assurance",
        "You compare the results of trades with the plan and report every difference.",
        Task("validate_execution_results", 0.2, 800, _HAIKU, "Compare these results with the plan."),
        tools=("analyze_financial_risk",),
    ),
    _agent(
        "banking",
        "You answer banking requests: balances, payments and transfers. You never move money unasked.",
        Task("process_request", 0.1, 200, _FLASH, "Answer this banking request."),
        tools=("process_banking_transaction",),
    ),
)

TEAMS: dict[str, Team] = {team.name: team for team in (_MEETMIND, _AGENTSVEA, _FELICIASFI)}

//! What each agent does when it runs: the steps, their tokens and fees. Figures are chosen so that a task costs
//! between five cents and two dollars.

use recoup_model::Kind;

use super::chance::Range;
use super::offers::*;

/// A call of a language model. Token ranges are drawn skewed: most calls are small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) model: Model,
    /// `batch` or `flex`; `None` is the standard tier.
    pub(super) tier: Option<&'static str>,
    pub(super) input: Range,
    pub(super) cache_read: Range,
    pub(super) cache_write: Range,
    pub(super) audio: Range,
    pub(super) output: Range,
    pub(super) reasoning: Range,
    /// How many such calls in a row.
    pub(super) times: Range,
    /// How often in a hundred runs.
    pub(super) percent: u64,
}

const fn ask(model: Model, input: Range, output: Range) -> Ask {
    let none = (0, 0);
    Ask {
        model,
        tier: None,
        input,
        cache_read: none,
        cache_write: none,
        audio: none,
        output,
        reasoning: none,
        times: (1, 1),
        percent: 100,
    }
}

impl Ask {
    const fn cached(mut self, read: Range, write: Range) -> Self {
        (self.cache_read, self.cache_write) = (read, write);
        self
    }
    const fn thinking(mut self, reasoning: Range) -> Self {
        self.reasoning = reasoning;
        self
    }
    const fn hearing(mut self, audio: Range) -> Self {
        self.audio = audio;
        self
    }
    const fn times(mut self, low: u64, high: u64) -> Self {
        self.times = (low, high);
        self
    }
    const fn percent(mut self, percent: u64) -> Self {
        self.percent = percent;
        self
    }
    const fn batch(mut self) -> Self {
        self.tier = Some("batch");
        self
    }
    const fn flex(mut self) -> Self {
        self.tier = Some("flex");
        self
    }
    const fn step(self) -> Step {
        Step::Ask(self)
    }
}

/// One thing that an agent does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Calls a language or embedding model.
    Ask(Ask),
    /// Uses something priced by SKU; the quantity is in thousandths of its unit.
    Buy { kind: Kind, sku: Sku, thousandths: Range, percent: u64 },
    /// Uses a service that reports its own cost, in thousandths of its currency.
    Pay { service: Service, thousandths: Range, percent: u64 },
    /// Calls another agent.
    Call { agent: &'static str, percent: u64 },
    /// Asks the agent that called, which makes the calls a cycle.
    AskBack { percent: u64 },
    /// Waits, for a person or another system.
    Wait { seconds: Range },
}

/// What an agent does, in order.
#[derive(Debug)]
pub(super) struct Playbook {
    pub(super) agent: &'static str,
    /// How often in a hundred calls the agent is a mere tagged model call, without a frame of its own.
    pub(super) bare_percent: u64,
    pub(super) steps: &'static [Step],
}

const fn buy(kind: Kind, sku: Sku, thousandths: Range, percent: u64) -> Step {
    Step::Buy { kind, sku, thousandths, percent }
}

const fn search(sku: Sku, percent: u64) -> Step {
    buy(Kind::Tool, sku, (1_000, 1_000), percent)
}

const fn call(agent: &'static str, percent: u64) -> Step {
    Step::Call { agent, percent }
}

const fn embed(model: Model, tokens: Range) -> Step {
    ask(model, tokens, (0, 0)).step()
}

const STEPPING: Step = buy(Kind::Orchestration, WORKFLOW_STEP, (1_000, 6_000), 60);

/// The playbook of an agent.
pub(super) fn playbook(agent: &str) -> Option<&'static Playbook> {
    PLAYBOOKS.iter().find(|playbook| playbook.agent == agent)
}

/// Every agent.
pub(super) const PLAYBOOKS: &[Playbook] = &[
    Playbook {
        agent: "triage",
        bare_percent: 0,
        steps: &[
            call("guardrail", 80),
            embed(COHERE_EMBEDDING, (200, 1_800)),
            search(RERANK, 60),
            ask(HAIKU, (6_000, 40_000), (150, 700)).cached((12_000, 12_000), (0, 0)).times(2, 4).step(),
            ask(SONNET, (9_000, 40_000), (300, 1_500)).percent(40).step(),
            STEPPING,
        ],
    },
    Playbook {
        agent: "resolver",
        bare_percent: 0,
        steps: &[
            call("guardrail", 95),
            call("knowledge", 85),
            ask(SONNET, (12_000, 60_000), (400, 2_600))
                .cached((30_000, 30_000), (0, 6_000))
                .thinking((0, 3_000))
                .times(2, 5)
                .step(),
            STEPPING,
            call("translator", 18),
            ask(OPUS, (14_000, 60_000), (600, 3_000)).thinking((400, 5_000)).percent(22).step(),
            call("formatter", 75),
            call("guardrail", 90),
        ],
    },
    Playbook {
        agent: "knowledge",
        bare_percent: 0,
        steps: &[
            embed(OPENAI_EMBEDDING, (100, 2_500)),
            search(RERANK, 70),
            ask(GPT_MINI, (18_000, 70_000), (300, 1_600)).cached((8_000, 20_000), (0, 0)).times(1, 3).step(),
            Step::AskBack { percent: 14 },
            search(FILE_SEARCH, 25),
            buy(Kind::Storage, VECTORS, (400, 9_000), 12),
            call("guardrail", 40),
        ],
    },
    Playbook {
        agent: "call-notes",
        bare_percent: 0,
        steps: &[
            buy(Kind::Compute, GPU, (15_000, 120_000), 100),
            ask(GEMINI_FLASH, (800, 4_000), (500, 1_800)).hearing((9_000, 52_000)).times(1, 3).step(),
            call("guardrail", 80),
            Step::Wait { seconds: (1, 40) },
            ask(GEMINI_FLASH, (6_000, 30_000), (900, 3_500)).thinking((200, 1_500)).times(1, 2).step(),
            STEPPING,
            call("formatter", 60),
        ],
    },
    Playbook {
        agent: "copywriter",
        bare_percent: 0,
        steps: &[
            call("researcher", 12),
            ask(GPT, (10_000, 60_000), (1_200, 6_000)).cached((4_000, 18_000), (0, 0)).thinking((300, 4_000)).step(),
            ask(SONNET, (8_000, 40_000), (1_000, 5_000)).times(1, 3).step(),
            STEPPING,
            call("guardrail", 70),
            call("formatter", 95),
        ],
    },
    Playbook {
        agent: "researcher",
        bare_percent: 0,
        steps: &[
            search(TAVILY, 90),
            search(WEB_SEARCH, 60),
            search(GOOGLE_SEARCH, 40),
            ask(SONNET, (20_000, 90_000), (800, 3_000)).times(2, 4).step(),
            ask(GEMINI_PRO, (205_000, 380_000), (1_500, 6_000)).percent(12).step(),
            Step::Pay { service: COMPANY_REGISTER, thousandths: (90, 900), percent: 25 },
            ask(OPUS, (12_000, 70_000), (1_500, 6_000)).cached((0, 20_000), (2_000, 9_000)).percent(70).step(),
            call("formatter", 50),
        ],
    },
    Playbook {
        agent: "seo",
        bare_percent: 0,
        steps: &[
            Step::Pay { service: KEYWORD_DATA, thousandths: (8, 60), percent: 45 },
            search(SERPER, 70),
            ask(GPT_MINI, (30_000, 120_000), (800, 4_000)).batch().times(3, 6).step(),
            ask(HAIKU, (30_000, 120_000), (500, 2_500)).batch().step(),
            call("formatter", 40),
        ],
    },
    Playbook {
        agent: "translator",
        bare_percent: 0,
        steps: &[
            ask(MISTRAL_SMALL, (30_000, 120_000), (9_000, 36_000)).times(2, 5).step(),
            STEPPING,
            ask(OWN_TRANSLATOR, (10_000, 60_000), (9_000, 40_000)).percent(30).step(),
            ask(GPT_MINI, (12_000, 60_000), (3_000, 9_000)).percent(60).step(),
            call("guardrail", 85),
            call("formatter", 50),
        ],
    },
    Playbook {
        agent: "code-reviewer",
        bare_percent: 0,
        steps: &[
            ask(SONNET, (8_000, 40_000), (600, 2_500)).cached((20_000, 140_000), (4_000, 30_000)).times(2, 4).step(),
            call("test-runner", 70),
            ask(OPUS, (10_000, 50_000), (900, 4_500))
                .cached((20_000, 90_000), (0, 10_000))
                .thinking((800, 6_000))
                .step(),
            STEPPING,
            call("guardrail", 60),
            call("formatter", 50),
        ],
    },
    Playbook {
        agent: "test-runner",
        bare_percent: 0,
        steps: &[
            buy(Kind::Compute, SANDBOX, (30_000, 600_000), 100),
            search(CODE_INTERPRETER, 30),
            Step::AskBack { percent: 25 },
            ask(GPT_NANO, (9_000, 60_000), (200, 1_500)).times(1, 4).step(),
            STEPPING,
        ],
    },
    Playbook {
        agent: "incident",
        bare_percent: 0,
        steps: &[
            embed(OPENAI_EMBEDDING, (500, 4_000)),
            ask(SONNET, (20_000, 120_000), (500, 2_500)).cached((0, 60_000), (2_000, 12_000)).times(2, 5).step(),
            buy(Kind::Compute, SANDBOX, (20_000, 400_000), 80),
            Step::Wait { seconds: (60, 1_500) },
            call("knowledge", 50),
            ask(OPUS, (20_000, 90_000), (1_500, 7_000))
                .cached((10_000, 80_000), (0, 0))
                .thinking((1_000, 9_000))
                .step(),
            call("formatter", 30),
        ],
    },
    Playbook {
        agent: "docs",
        bare_percent: 0,
        steps: &[
            ask(GPT_MINI, (30_000, 140_000), (2_000, 9_000)).flex().times(2, 5).step(),
            search(FILE_SEARCH, 70),
            STEPPING,
            ask(GPT, (275_000, 390_000), (2_000, 6_000)).batch().percent(6).step(),
            ask(FINE_TUNED, (8_000, 30_000), (900, 4_000)).percent(14).step(),
            call("formatter", 80),
        ],
    },
    Playbook {
        agent: "invoice-reader",
        bare_percent: 0,
        steps: &[
            ask(NOVA_PRO, (8_000, 40_000), (300, 1_600)).times(2, 4).step(),
            ask(BEDROCK_HAIKU, (9_000, 50_000), (400, 2_000)).percent(85).step(),
            Step::Pay { service: COMPANY_REGISTER, thousandths: (20, 60), percent: 18 },
            call("guardrail", 80),
            call("formatter", 40),
            STEPPING,
        ],
    },
    Playbook {
        agent: "reconciler",
        bare_percent: 0,
        steps: &[
            buy(Kind::Storage, VECTORS, (500, 20_000), 30),
            ask(BEDROCK_SONNET, (20_000, 90_000), (900, 4_000)).cached((5_000, 60_000), (0, 8_000)).times(2, 4).step(),
            STEPPING,
            call("invoice-reader", 40),
            ask(NOVA_LITE, (9_000, 60_000), (400, 2_000)).step(),
        ],
    },
    Playbook {
        agent: "forecaster",
        bare_percent: 0,
        steps: &[
            search(CODE_INTERPRETER, 90),
            buy(Kind::Compute, GPU, (20_000, 300_000), 80),
            ask(GPT, (15_000, 80_000), (1_000, 4_000)).thinking((1_000, 9_000)).times(1, 4).step(),
            STEPPING,
            buy(Kind::Storage, VECTORS, (500, 8_000), 40),
            call("formatter", 70),
        ],
    },
    Playbook {
        agent: "guardrail",
        bare_percent: 70,
        steps: &[
            ask(BEDROCK_HAIKU, (2_000, 14_000), (20, 160)).step(),
            buy(Kind::Compute, GPU, (200, 2_500), 60),
            call("formatter", 18),
        ],
    },
    Playbook {
        agent: "formatter",
        bare_percent: 15,
        steps: &[ask(GPT_MINI, (3_000, 24_000), (900, 5_000)).step(), call("guardrail", 30)],
    },
];

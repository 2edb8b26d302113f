//! Who is told of what: a pure decision over the organisation file and the channels that there are.

use recoup_messages::{Audience, Notice};
use recoup_model::Organisation;
use recoup_store::SlackReach;
use serde::{Deserialize, Serialize};

use super::Reach;
use super::delivery::Channel;

/// The only channel of an incoming webhook, whatever its name.
const WEBHOOK: &str = "webhook";

/// Where a notice goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// By what.
    pub channel: Channel,
    /// A channel of Slack or an address.
    pub to: String,
}

impl Target {
    /// Names its outlet. Whatever separates names in keys is written otherwise.
    pub(super) fn outlet(&self) -> String {
        let to = self.to.replace('%', "%25").replace('|', "%7C");
        format!("{}:{to}", self.channel.name())
    }
}

/// The targets of a notice, each once, and what is odd about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Aim {
    pub(super) targets: Vec<Target>,
    /// Why it goes elsewhere than it should, or nowhere.
    pub(super) note: Option<String>,
}

/// Who an audience is, in words.
const fn named(audience: Audience) -> &'static str {
    match audience {
        Audience::Lead => "the team",
        Audience::FinOps => "FinOps",
    }
}

pub(super) fn aim(notice: &Notice, organisation: Option<&Organisation>, reach: Reach) -> Aim {
    let mut aim = Aim::default();
    let mut missed = Vec::new();
    for audience in &notice.audience {
        let of = targets_of(*audience, notice, organisation, reach);
        if of.is_empty() {
            missed.push(*audience);
        }
        aim.targets.extend(of);
    }
    if !missed.is_empty() && !notice.audience.contains(&Audience::FinOps) {
        aim.targets.extend(targets_of(Audience::FinOps, notice, organisation, reach));
    }
    if reach.slack == Some(SlackReach::OneWebhook) {
        aim.targets.retain(|target| target.channel != Channel::Slack);
        aim.targets.push(Target { channel: Channel::Slack, to: WEBHOOK.to_owned() });
        missed.clear();
    }
    // Whoever acknowledged it sees it in Slack; a second e-mail about each alert would be one too many.
    if notice.kind == "budget-tier-changed" && aim.targets.iter().any(|target| target.channel == Channel::Slack) {
        aim.targets.retain(|target| target.channel == Channel::Slack);
    }
    aim.targets.sort();
    aim.targets.dedup();
    aim.note = note(notice, &aim, &missed, reach);
    aim
}

fn note(notice: &Notice, aim: &Aim, missed: &[Audience], reach: Reach) -> Option<String> {
    if aim.targets.is_empty() {
        let remedy = if reach == Reach::default() {
            "neither Slack nor a mail server is configured"
        } else {
            "the organisation file names no channel for it: add `slack_channel` or `email` to the team, \
             `finops_slack_channel` or `finops_email` to [alerts]"
        };
        return Some(remedy.to_owned());
    }
    let missed: Vec<&str> = missed.iter().map(|audience| named(*audience)).collect();
    let of = notice.team.as_deref().map_or_else(String::new, |team| format!(" (`{team}`)"));
    (!missed.is_empty())
        .then(|| format!("{}{of} has no channel that is configured; others were told", missed.join(" and ")))
}

fn targets_of(audience: Audience, notice: &Notice, organisation: Option<&Organisation>, reach: Reach) -> Vec<Target> {
    let Some(organisation) = organisation else { return Vec::new() };
    let (slack, email) = match audience {
        Audience::FinOps => {
            let alerts = &organisation.alerts;
            (alerts.finops_slack_channel.as_deref(), alerts.finops_email.as_deref())
        }
        Audience::Lead => {
            let team = notice.team.as_deref().and_then(|team| organisation.teams.get(team));
            let lead = team.and_then(|team| team.lead.as_deref()).filter(|lead| lead.contains('@'));
            (team.and_then(|team| team.slack_channel.as_deref()), team.and_then(|team| team.email.as_deref()).or(lead))
        }
    };
    let target = |channel, to: &str| Target { channel, to: to.trim().to_owned() };
    let slack = slack.filter(|_| reach.slack.is_some()).map(|to| target(Channel::Slack, to));
    let email = email.filter(|_| reach.mail).map(|to| target(Channel::Email, to));
    slack.into_iter().chain(email).filter(|target| !target.to.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use recoup_messages::{Audience, Notice, Severity};
    use recoup_model::Organisation;
    use recoup_model::organisation::parse;
    use recoup_store::SlackReach;

    use super::{Reach, aim};

    const FILE: &str = r##"
[organisation]
name = "Aim"
currency = "USD"
time_zone = "UTC"
[[teams]]
id = "support"
slack_channel = "#support-ai"
lead = "ana@example.com"
[[teams]]
id = "quiet"
lead = "Ana Perez"
[alerts]
finops_slack_channel = "#finops"
finops_email = "finops@example.com"
"##;
    const ALL: Reach = Reach { slack: Some(SlackReach::Channels), mail: true };

    fn organisation(text: &str) -> Organisation {
        parse(text).unwrap()
    }

    fn notice(team: Option<&str>, audience: &[Audience]) -> Notice {
        Notice {
            id: "alr_1".into(),
            kind: "budget-tier".into(),
            severity: Severity::Info,
            title: "t".into(),
            summary: "s".into(),
            facts: Vec::new(),
            table: None,
            next_steps: Vec::new(),
            actions: Vec::new(),
            team: team.map(str::to_owned),
            audience: audience.to_vec(),
            thread: None,
            outcome: None,
            at: "2026-11-10T08:00:00Z".into(),
        }
    }

    fn outlets(notice: &Notice, text: &str, reach: Reach) -> (Vec<String>, bool) {
        let aim = aim(notice, Some(&organisation(text)), reach);
        (aim.targets.iter().map(super::Target::outlet).collect(), aim.note.is_some())
    }

    #[test]
    fn a_lead_and_finops_are_told_where_the_file_says() {
        let lead = notice(Some("support"), &[Audience::Lead]);
        let both = notice(Some("support"), &[Audience::Lead, Audience::FinOps]);
        let own = ["slack:#support-ai", "email:ana@example.com"].map(str::to_owned);
        assert_eq!(outlets(&lead, FILE, ALL), (own.to_vec(), false));
        let expected = ["slack:#finops", "slack:#support-ai", "email:ana@example.com", "email:finops@example.com"]
            .map(str::to_owned);
        assert_eq!(outlets(&both, FILE, ALL), (expected.to_vec(), false));
    }

    #[test]
    fn a_team_without_a_channel_falls_back_to_finops_with_a_note() {
        let lead = notice(Some("quiet"), &[Audience::Lead]);
        let expected = ["slack:#finops", "email:finops@example.com"].map(str::to_owned);
        assert_eq!(outlets(&lead, FILE, ALL), (expected.to_vec(), true));
        assert_eq!(outlets(&notice(None, &[Audience::Lead]), FILE, ALL), (expected.to_vec(), true));
        let only_mail = Reach { slack: None, mail: true };
        assert_eq!(outlets(&lead, FILE, only_mail), (vec!["email:finops@example.com".to_owned()], true));
    }

    #[test]
    fn nothing_configured_is_said_and_not_dropped() {
        let bare = FILE.split("[alerts]").next().unwrap();
        let lead = notice(Some("quiet"), &[Audience::Lead]);
        assert_eq!(outlets(&lead, bare, ALL), (Vec::new(), true));
        assert_eq!(outlets(&lead, FILE, Reach::default()), (Vec::new(), true));
        assert!(aim(&lead, None, ALL).note.is_some());
    }

    #[test]
    fn a_webhook_is_one_channel_for_everybody() {
        let both = notice(Some("support"), &[Audience::Lead, Audience::FinOps]);
        let reach = Reach { slack: Some(SlackReach::OneWebhook), mail: false };
        assert_eq!(outlets(&both, FILE, reach), (vec!["slack:webhook".to_owned()], false));
        assert_eq!(
            outlets(
                &notice(None, &[Audience::FinOps]),
                "[organisation]\nname = \"A\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n",
                reach
            )
            .0
            .len(),
            1
        );
    }

    #[test]
    fn an_acknowledgement_changes_the_message_and_writes_no_e_mail() {
        let changed = Notice { kind: "budget-tier-changed".into(), ..notice(Some("support"), &[Audience::Lead]) };
        assert_eq!(outlets(&changed, FILE, ALL).0, ["slack:#support-ai"]);
        assert_eq!(outlets(&changed, FILE, Reach { slack: None, mail: true }).0, ["email:ana@example.com"]);
    }
}

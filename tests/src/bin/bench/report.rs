//! The table of a run, with the goals beside the figures.

use std::{collections::HashMap, fmt};

use headgate_tests::table::{Figures, Table, goal};

use crate::subject::Subject;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    FewOne,
    FewEight,
    ManyOne,
    ManyEight,
    Handshake,
    HandshakeToken,
    HandshakeTls,
    Idle,
    IdleToken,
    IdleTls,
}

/// What was measured of each subject.
#[derive(Debug, Default)]
pub struct Report(HashMap<(Row, Subject), Figures>);

/// What the gateway is to reach.
#[derive(Clone, Copy)]
enum Goal {
    /// At most so many times what the subject pays.
    Ratio(Subject, f64),
    /// At most so much.
    Most(f64),
    /// At most so many times what the gateway itself pays for another row.
    Flat(Row, f64),
}

impl Row {
    const ALL: [Self; 10] = [
        Self::FewOne,
        Self::FewEight,
        Self::ManyOne,
        Self::ManyEight,
        Self::Handshake,
        Self::HandshakeToken,
        Self::HandshakeTls,
        Self::Idle,
        Self::IdleToken,
        Self::IdleTls,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::FewOne => {
                "1,000 receivers, one publication at a time: CPU s per million deliveries"
            }
            Self::FewEight => "1,000 receivers, 8 in flight: CPU s per million deliveries",
            Self::ManyOne => "10,000 receivers, one at a time: CPU s per million deliveries",
            Self::ManyEight => "10,000 receivers, 8 in flight: CPU s per million deliveries",
            Self::Handshake => "handshake: CPU us",
            Self::HandshakeToken => "handshake with an HS256 token: CPU us",
            Self::HandshakeTls => "handshake over TLS 1.3: CPU us",
            Self::Idle => "idle connection: KiB",
            Self::IdleToken => "idle connection with a token of its own: KiB",
            Self::IdleTls => "idle connection over TLS: KiB",
        }
    }

    /// From performance.md.
    const fn goals(self) -> &'static [Goal] {
        match self {
            Self::FewOne => &[Goal::Ratio(Subject::Reference, 1.1)],
            Self::ManyOne => &[Goal::Ratio(Subject::Reference, 1.1), Goal::Flat(Self::FewOne, 1.3)],
            Self::FewEight => &[Goal::Ratio(Subject::Coalescing, 1.0)],
            Self::ManyEight => {
                &[Goal::Ratio(Subject::Coalescing, 1.0), Goal::Flat(Self::FewEight, 1.3)]
            }
            Self::HandshakeToken => &[Goal::Most(45.0)],
            Self::Idle | Self::IdleToken => &[Goal::Most(4.0)],
            Self::Handshake | Self::HandshakeTls | Self::IdleTls => &[],
        }
    }
}

impl Report {
    pub fn add(&mut self, row: Row, subject: Subject, figure: f64) {
        self.0.entry((row, subject)).or_default().push(figure);
    }

    fn of(&self, row: Row, subject: Subject) -> Figures {
        self.0.get(&(row, subject)).cloned().unwrap_or_default()
    }

    /// The gateway's ratio to another subject.
    fn ratio(&self, row: Row, to: Subject) -> Figures {
        self.of(row, Subject::Gateway).ratios_to(&self.of(row, to))
    }

    fn goal(&self, row: Row, wanted: Goal) -> String {
        match wanted {
            Goal::Ratio(to, most) => {
                let what = format!("at most {most} x {}", to.name());
                goal(self.ratio(row, to).median(), most, &what)
            }
            Goal::Most(most) => {
                let figure = self.of(row, Subject::Gateway).median();
                goal(figure, most, &format!("at most {most}"))
            }
            Goal::Flat(small, most) => {
                let growth = |it| self.of(row, it).ratios_to(&self.of(small, it)).median();
                let what = match growth(Subject::Reference) {
                    Some(floor) => {
                        format!("at most {most} x its own with 1,000 (reference {floor:.2})")
                    }
                    None => format!("at most {most} x its own with 1,000"),
                };
                goal(growth(Subject::Gateway), most, &what)
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = Subject::ALL.into_iter().filter(|it| *it != Subject::Gateway);
        let others: Vec<_> = others.filter(|it| self.0.keys().any(|(_, had)| had == it)).collect();
        let names = || others.iter().map(|it| it.name());
        let mut figures = Table::new(["what", "gateway"].into_iter().chain(names()));
        let mut ratios =
            Table::new(["gateway divided by"].into_iter().chain(names()).chain(["goal"]));
        for row in Row::ALL {
            let gateway = self.of(row, Subject::Gateway);
            if gateway.median().is_none() {
                continue;
            }
            let name = || row.name().to_owned();
            let measured = others.iter().map(|it| self.of(row, *it).to_string());
            figures.row([name(), gateway.to_string()].into_iter().chain(measured).collect());
            let divided = others.iter().map(|it| self.ratio(row, *it).to_string());
            let goals: Vec<_> = row.goals().iter().map(|it| self.goal(row, *it)).collect();
            ratios.row([name()].into_iter().chain(divided).chain([goals.join("; ")]).collect());
        }
        writeln!(f, "{figures}\n{ratios}")
    }
}

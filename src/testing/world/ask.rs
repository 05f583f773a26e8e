//! The way of a question to the active controller: tries, until there is an answer or its time is over.

use std::time::Duration;

use super::message::{Answer, Endpoint, Request, RequestId};
use super::process::{AskKind, Asking};
use super::{Happening, Life, World};
use crate::machines::controller::{Asked, Event as Ask, Reply};
use crate::model::NodeId;

/// Between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// How long one try may take.
const TRY_WITHIN: Duration = Duration::from_secs(5);

impl World {
    /// A node asks the active controller, wherever that is.
    pub(super) fn ask(&mut self, life: Life, what: AskKind, event: Ask, within: Duration) {
        let until = self.now.plus(within);
        let number = self.request().0;
        let Some(process) = self.process(life) else { return };
        process.asks.insert(number, Asking { what, event, sendings: 0, until, request: None });
        self.try_ask(life, number);
    }

    pub(super) fn try_ask(&mut self, life: Life, number: u64) {
        let (now, id) = (self.now, self.request());
        let Some(process) = self.process(life) else { return };
        let leader = process.leadership.1;
        let Some(asking) = process.asks.get_mut(&number).filter(|asking| asking.request.is_none()) else { return };
        if now >= asking.until {
            self.asked(life, number, None);
            return;
        }
        let until = asking.until.min(now.plus(TRY_WITHIN));
        let Some(leader) = leader else {
            self.after(RETRY_PAUSE, Happening::AskAgain(life, number));
            return;
        };
        asking.sendings += 1;
        asking.request = Some(id);
        let body = Request::Control(Box::new(asking.event.clone()));
        self.send(Endpoint::Node(life.node), Endpoint::Node(leader), super::Message::Request { id, body });
        self.at(until, Happening::TryEnds(life, number, id));
    }

    /// A try has taken too long.
    pub(super) fn try_ends(&mut self, life: Life, number: u64, request: RequestId) {
        let Some(process) = self.process(life) else { return };
        let Some(asking) = process.asks.get_mut(&number).filter(|asking| asking.request == Some(request)) else {
            return;
        };
        asking.request = None;
        self.try_ask(life, number);
    }

    pub(super) fn ask_answer(&mut self, node: NodeId, number: u64, body: Option<Answer>) {
        let life = self.life(node).expect("it has asked");
        if let Some(Answer::Controlled(reply)) = body {
            self.asked(life, number, Some(*reply));
            return;
        }
        let process = self.running(node).expect("it has asked");
        process.asks.get_mut(&number).expect("it has asked").request = None;
        self.after(RETRY_PAUSE, Happening::AskAgain(life, number));
    }

    /// The question is settled: with a reply, or its time is over.
    fn asked(&mut self, life: Life, number: u64, reply: Option<Reply>) {
        let Some(process) = self.process(life) else { return };
        let asking = process.asks.remove(&number).expect("it was asked");
        match asking.what {
            AskKind::Register => self.registered(life, reply),
            AskKind::Heartbeat { sent } => self.heard(life, sent, reply),
            AskKind::Isr(batch) => self.isrs_answered(life, batch, reply, asking.sendings),
            AskKind::Relay { to, id } => {
                let body = reply.map_or(Answer::Unable, |reply| Answer::Controlled(Box::new(reply)));
                self.answer(life.node, to, id, body);
            }
        }
    }

    /// Something for the controller has come: from a node it is for this node's own, from a client it is passed on.
    pub(super) fn serve_control(&mut self, node: NodeId, from: Endpoint, id: RequestId, event: Ask) {
        let Some(life) = self.life(node) else { return };
        let Endpoint::Node(asker) = from else {
            self.ask(life, AskKind::Relay { to: from, id }, event, Duration::from_secs(5));
            return;
        };
        let world = self.now;
        let process = self.process(life).expect("just seen");
        if process.host.active.is_none() {
            self.answer(node, from, id, Answer::Unable);
            return;
        }
        // Who lives is judged before a heartbeat's turn.
        if let Ask::Heartbeat(heartbeat) = &event {
            let at = process.local(world);
            process.host.soft.alive(&process.image, at, &heartbeat.sign());
        }
        process.host.waiting.push_back(Asked { event, to: (asker, id) });
        self.control_soon(node);
    }

    pub(super) fn serve_metadata(&mut self, node: NodeId, from: Endpoint, id: RequestId) {
        let Some(process) = self.running(node) else { return };
        let body = match &process.reconciled {
            Some(image) => Answer::Metadata(image.clone()),
            None => Answer::Unable,
        };
        self.answer(node, from, id, body);
    }
}

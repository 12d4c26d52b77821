//! What an agent makes of the messages that it hears.

use super::cx::{Act, Cx, MS};
use super::party::{ClientState, Party, Server, Side, State};
use super::text::Text;

impl Party {
    pub(super) fn on_response(&mut self, cx: &mut Cx, response: &Text) {
        let found = self.clients.iter().position(|client| {
            client.branch == response.branch() && client.method == response.method()
        });
        let Some(index) = found else { return };
        let status = response.status();
        let client = &mut self.clients[index];
        if status < 200 {
            if client.state == ClientState::Trying {
                client.state = ClientState::Proceeding;
            }
            if index == 0 && self.side == Side::Caller && self.state == State::Early {
                if !response.tag_of_to().is_empty() {
                    self.remote_tag = response.tag_of_to().to_owned();
                    self.target = response.contact().unwrap_or(&self.target).to_owned();
                }
                self.acknowledge_provisional(cx, response);
                if self.is_leaving && !self.facts.has_cancelled {
                    self.take_back(cx);
                }
            }
            return;
        }
        let is_first = std::mem::replace(&mut client.state, ClientState::Done) != ClientState::Done;
        match client.method {
            "INVITE" => self.on_invite_final(cx, index, is_first, response),
            "BYE" | "CANCEL" => {}
            _ if is_first && matches!(status, 408 | 481) => self.hang_up(cx),
            _ => {}
        }
    }

    fn on_invite_final(&mut self, cx: &mut Cx, index: usize, is_first: bool, response: &Text) {
        let status = response.status();
        let is_initial = index == 0 && self.side == Side::Caller;
        if is_initial {
            self.facts.finals.insert((status, response.tag_of_to().to_owned()));
        }
        if status >= 300 {
            let invite = &self.clients[index];
            let mut ack = Text::new(invite.request.start.replace("INVITE ", "ACK "));
            for (name, value) in &invite.request.headers {
                if ["Via", "Max-Forwards", "From", "Call-ID"].contains(&name.as_str()) {
                    ack = ack.with(name, value.clone());
                }
            }
            let ack = ack
                .with("To", response.get("To").unwrap_or_default())
                .with("CSeq", format!("{} ACK", invite.seq));
            cx.agent_sends(self.address, ack.print());
            match is_initial {
                true => self.end(cx),
                false if matches!(status, 408 | 481) && is_first => self.hang_up(cx),
                false => {}
            }
            return;
        }
        if is_initial && is_first {
            self.state = State::Confirmed;
            self.facts.answered_at = Some(cx.now);
            self.facts.answer = response.body.clone();
            self.remote_tag = response.tag_of_to().to_owned();
        }
        self.target = response.contact().unwrap_or(&self.target).to_owned();
        if self.plan.never_acks {
            if is_first {
                self.schedule_after(cx);
            }
            return;
        }
        if self.clients[index].ack.is_none() {
            let body = if self.clients[index].has_offer { String::new() } else { self.sdp(true) };
            let seq = self.clients[index].seq;
            let branch = cx.word("z9hG4bK");
            let mut ack = self.text("ACK", seq, &branch);
            ack.body = body;
            self.clients[index].ack = Some(ack.print());
        }
        if let Some(ack) = self.clients[index].ack.clone() {
            cx.agent_sends(self.address, ack);
        }
        if is_initial && is_first {
            self.facts.is_acknowledged = true;
            match self.is_leaving {
                true => self.hang_up(cx),
                false => self.schedule_after(cx),
            }
        }
    }

    pub(super) fn schedule_after(&mut self, cx: &mut Cx) {
        for (after, step) in self.plan.after.clone() {
            cx.later(after, self.id, Act::Step(step));
        }
    }

    pub(super) fn on_request(&mut self, cx: &mut Cx, request: Text) {
        let method = request.method().to_owned();
        if method == "ACK" {
            return self.on_ack(cx, &request);
        }
        let known = self.servers.iter().position(|server| {
            server.request.branch() == request.branch() && server.request.method() == method
        });
        if let Some(index) = known {
            if let Some(response) = self.servers[index].response.clone()
                && !self.is_fork
                && !(self.servers[index].is_acknowledged && method == "INVITE")
            {
                cx.agent_sends(self.address, response);
            }
            return;
        }
        if method == "CANCEL" {
            return self.on_cancel(cx, &request);
        }
        let is_initial = request.tag_of_to().is_empty();
        let (seq, server) = (request.seq(), self.servers.len());
        self.servers.push(Server {
            request,
            response: None,
            status: 0,
            is_acknowledged: method != "INVITE",
        });
        if is_initial {
            return self.begin(cx);
        }
        if seq < self.remote_seq {
            return self.respond(cx, server, 500, "CSeq Too Low", "");
        }
        self.remote_seq = seq;
        match (&*method, self.state) {
            ("BYE", State::Confirmed | State::Ended) => {
                self.facts.has_received_bye = true;
                self.respond(cx, server, 200, "OK", "");
                self.end(cx);
                for other in 0..server {
                    if self.servers[other].response.is_none() {
                        self.respond(cx, other, 487, "Request Terminated", "");
                    }
                }
            }
            ("PRACK", State::Early | State::Confirmed) => {
                let prack = self.servers[server].request.clone();
                match self.takes_prack(&prack) {
                    true => self.respond(cx, server, 200, "OK", ""),
                    false => self.respond(cx, server, 481, "No Such Response", ""),
                }
            }
            (_, State::Early | State::Ended) => {
                self.respond(cx, server, 481, "Call/Transaction Does Not Exist", "");
            }
            ("INVITE", State::Confirmed) => self.on_reinvite(cx, server),
            (_, State::Confirmed) => self.respond(cx, server, 200, "OK", ""),
        }
    }

    fn on_reinvite(&mut self, cx: &mut Cx, server: usize) {
        let is_inviting = self
            .clients
            .iter()
            .any(|client| client.method == "INVITE" && client.state != ClientState::Done);
        let is_invited = self.servers[..server]
            .iter()
            .any(|other| other.request.method() == "INVITE" && other.response.is_none());
        if is_inviting {
            self.respond(cx, server, 491, "Request Pending", "");
        } else if is_invited {
            self.respond(cx, server, 500, "Overlapping", "");
        } else if let Some(status) = self.plan.refuses_reinvites {
            self.respond(cx, server, status, "Refused", "");
        } else {
            let after = cx.random.below(600) * MS;
            cx.later(after, self.id, Act::AnswerReinvite { server });
        }
    }

    pub(super) fn answer_reinvite(&mut self, cx: &mut Cx, server: usize) {
        if self.servers[server].response.is_none() && self.state == State::Confirmed {
            self.version += 1;
            let body = self.sdp(true);
            self.respond(cx, server, 200, "OK", &body);
        }
    }

    fn on_cancel(&mut self, cx: &mut Cx, cancel: &Text) {
        let server = self.servers.len();
        self.servers.push(Server {
            request: cancel.clone(),
            response: None,
            status: 0,
            is_acknowledged: true,
        });
        let invite = self.servers.iter().position(|server| {
            server.request.branch() == cancel.branch() && server.request.method() == "INVITE"
        });
        if !self.is_fork {
            let status = if invite.is_some() { 200 } else { 481 };
            self.respond(cx, server, status, "Said", "");
        }
        let Some(invite) = invite.filter(|index| self.servers[*index].status < 200) else { return };
        self.facts.has_cancelled = true;
        if self.plan.ignores_cancel {
            return;
        }
        if self.is_fork {
            self.end(cx);
        } else {
            self.respond(cx, invite, 487, "Request Terminated", "");
        }
    }

    fn on_ack(&mut self, cx: &mut Cx, ack: &Text) {
        let found = self.servers.iter().position(|server| {
            let is_2xx = (200..300).contains(&server.status);
            server.request.method() == "INVITE"
                && server.request.seq() == ack.seq()
                && (is_2xx || server.request.branch() == ack.branch())
        });
        let Some(index) = found else { return };
        if std::mem::replace(&mut self.servers[index].is_acknowledged, true) {
            return;
        }
        if index == 0 && self.side == Side::Carrier && self.state == State::Confirmed {
            self.facts.is_acknowledged = true;
            self.facts.ack_body = ack.body.clone();
            match self.is_leaving {
                true => self.hang_up(cx),
                false => self.schedule_after(cx),
            }
        }
    }
}

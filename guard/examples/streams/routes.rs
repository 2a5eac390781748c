//! An event stream and a WebSocket that end when the login does.

use std::{convert::Infallible, pin::pin};

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    response::{
        Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures_util::{Stream, StreamExt, stream};
use symbolon_guard::{
    Guard, Identity, Rules,
    follow::{Following, Life},
};
use tokio::sync::broadcast::{Receiver, Sender};

/// What every stream tells, and who says when it is over.
#[derive(Clone)]
pub(super) struct Chat {
    pub(super) following: Following,
    pub(super) said: Sender<String>,
}

pub(super) fn router(rules: Rules, chat: Chat) -> Router {
    let guard = Guard::required(rules, chat.following.clone());
    Router::new()
        .route("/events", get(events))
        .route("/socket", get(socket))
        .layer(guard)
        .with_state(chat)
}

/// Server-sent events: each message only while the identity stands, and the end of the stream at its end.
async fn events(
    State(chat): State<Chat>,
    me: Identity,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let life = chat.following.life(&me);
    let over = {
        let life = life.clone();
        async move { life.over().await }
    };
    let events = stream::unfold((chat.said.subscribe(), life), next);
    Sse::new(events.take_until(Box::pin(over)))
}

type Listening = (Receiver<String>, Life);

async fn next((mut said, life): Listening) -> Option<(Result<Event, Infallible>, Listening)> {
    let message = said.recv().await.ok()?;
    let event = life.stands().await.then(|| Event::default().data(message))?;
    Some((Ok(event), (said, life)))
}

/// A WebSocket: the guard has proven that a page of ours opens it.
async fn socket(State(chat): State<Chat>, me: Identity, upgrade: WebSocketUpgrade) -> Response {
    let life = chat.following.life(&me);
    upgrade.on_upgrade(|socket| talk(socket, life, chat.said))
}

async fn talk(mut socket: WebSocket, life: Life, said: Sender<String>) {
    let (mut listening, mut over) = (said.subscribe(), pin!(life.over()));
    loop {
        let sent = tokio::select! {
            () = &mut over => break,
            heard = listening.recv() => match heard {
                Ok(text) if life.stands().await => socket.send(Message::text(text)).await,
                _ => break,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) if life.stands().await => {
                    let _ = said.send(text.to_string());
                    Ok(())
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                _ => break,
            },
        };
        if sent.is_err() {
            return;
        }
    }
    let reason = CloseFrame { code: close_code::POLICY, reason: "the login is over".into() };
    let _ = socket.send(Message::Close(Some(reason))).await;
}

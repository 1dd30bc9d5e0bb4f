//! Writes the bytes of the request: only its own bytes, and none after its answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::super::connection::Connection;
use super::{AppExchange, gone};

impl AppExchange {
    /// Writes bytes that belong to the request.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
        write: impl FnOnce(Pin<&mut Connection>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(patience) = &mut self.patience {
            patience.note_write();
        }
        if self.is_web_socket() {
            let Some(connection) = &mut self.connection else { return gone() };
            let written = write(Pin::new(&mut *connection), context);
            if written.is_pending() {
                return self.poll_stalled(context);
            }
            self.stall.wrote();
            return written;
        }
        if self.answer.is_ended() && !self.request.is_ended() {
            return Poll::Ready(Err(self.refuse("the app has answered already")));
        }
        let mut request = self.request.clone();
        if slices.iter().any(|slice| request.follow(slice).is_err()) {
            return Poll::Ready(Err(self.refuse("this is not of the request")));
        }
        let Some(connection) = &mut self.connection else { return gone() };
        match write(Pin::new(&mut *connection), context) {
            Poll::Ready(Ok(written)) => {
                self.stall.wrote();
                if written == slices.iter().map(|slice| slice.len()).sum::<usize>() {
                    self.request = request;
                } else {
                    self.follow_some(slices, written);
                }
                Poll::Ready(Ok(written))
            }
            Poll::Pending if self.poll_answer_ahead(context) => {
                Poll::Ready(Err(self.refuse("the app has answered and takes no more")))
            }
            Poll::Pending => self.poll_stalled(context),
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }

    /// Lets a write wait for the app.
    fn poll_stalled<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Some(connection) = &self.connection else { return gone() };
        let failed = ready!(self.stall.poll_write(context, &connection.socket));
        self.is_spoilt = true;
        Poll::Ready(Err(failed))
    }

    fn follow_some(&mut self, slices: &[io::IoSlice<'_>], written: usize) {
        let mut left = written;
        for slice in slices {
            let length = slice.len().min(left);
            left -= length;
            // The bytes were found to belong to the request before.
            let _of_the_request = self.request.follow(slice.get(..length).unwrap_or_default());
        }
    }

    fn refuse(&mut self, why: &'static str) -> io::Error {
        self.is_spoilt = true;
        io::Error::new(io::ErrorKind::BrokenPipe, why)
    }
}

impl AsyncWrite for AppExchange {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let slices = [io::IoSlice::new(bytes)];
        self.get_mut().poll_send(context, &slices, |writer, context| writer.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = |writer: Pin<&mut Connection>, context: &mut Context<'_>| {
            writer.poll_write_vectored(context, slices)
        };
        self.get_mut().poll_send(context, slices, write)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(connection) = &mut this.connection else { return gone() };
        match Pin::new(&mut *connection).poll_flush(context) {
            Poll::Pending if !this.is_web_socket() && this.poll_answer_ahead(context) => {
                Poll::Ready(Err(this.refuse("the app has answered and takes no more")))
            }
            Poll::Pending => this.poll_stalled(context),
            flushed @ Poll::Ready(_) => flushed,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.is_spoilt = true;
        let Some(connection) = &mut this.connection else { return gone() };
        Pin::new(&mut *connection).poll_shutdown(context)
    }
}

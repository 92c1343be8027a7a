package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// headTicket asks for the ticket that is the right one at the moment.
const headTicket = "head"

// retry sends what a letter holds again, and notes it. When that is noted already and nothing is known of the command,
// as when the bus has lost it, it is sent once more.
func (a *API) retry(w http.ResponseWriter, r *http.Request) error {
	d, err := decode(r, "ticket")
	if err != nil {
		return err
	}
	l, err := a.letter(r)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(r.Context(), a.config.Within)
	defer cancel()
	as := l.Decision.RetriedAs
	switch {
	case l.Decision.Resolution == store.Discarded: // which is told
	case l.Message != nil:
		as, err = a.submit(within, &l, d)
	case unreadable(&l):
		err = problem.New(commands.NotRetriable, "there is no command in what could not be read")
	default:
		as, err = a.resend(within, &l, d)
	}
	if err != nil {
		return err
	}
	return a.decide(w, r, &l, store.Decision{Resolution: store.Retried, By: d.by, Why: d.why, RetriedAs: as})
}

// retryID is the id under which the command of a letter is sent again, the same each time. Nobody outside can know it
// before.
func (a *API) retryID(l *store.DeadLetter) commands.ID {
	sum := sha256.Sum256(fmt.Appendf(nil, "dead letter %s %d %d", a.config.Epoch, l.N, l.At.UnixMicro()))
	id := commands.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8 (RFC 9562 section 5.8)
	return id
}

// resend sends the command of a letter as a new one, unless that was done before.
func (a *API) resend(ctx context.Context, l *store.DeadLetter, d decision) (commands.ID, error) {
	id := a.retryID(l)
	known, err := a.stands(ctx, id)
	if err != nil || known.Status != commands.StatusUnknown {
		return id, err
	}
	failed := l.Envelope
	c := commands.Command{ID: id, Stream: failed.Stream, Type: failed.Type, Ticket: failed.Ticket, Policy: failed.Policy,
		Actor: failed.Actor, Data: failed.Data}
	if c.Ticket, err = a.ticket(ctx, failed, d.ticket); err != nil {
		return id, err
	}
	waiter, waits := a.config.Register(id)
	if waits {
		defer waiter.Close()
	}
	env := commands.Seal(c, a.config.Now())
	if err := a.send(ctx, &env); err != nil {
		return id, err
	}
	if waits {
		ctx, cancel := context.WithTimeout(ctx, shortly)
		defer cancel()
		if _, _, err := waiter.Wait(ctx); err != nil {
			return id, nil //nolint:nilerr // it is sent, and what is known of it is read with the letter
		}
	}
	return id, nil
}

// shortly is how long a retry waits to be able to tell what came of it. It is no matter when nothing is known by then.
const shortly = 2 * time.Second

// ticket is the one that was asked for; the original's, when none was.
func (a *API) ticket(ctx context.Context, failed *commands.Envelope, asked string) (commands.ID, error) {
	switch asked {
	case "":
		return failed.Ticket, nil
	case headTicket:
		record, known, err := a.config.Store.Head(ctx, failed.Stream)
		if err != nil {
			return commands.None, fmt.Errorf("read the head of %s: %w", failed.Stream, err)
		}
		if !known {
			return commands.Genesis, nil
		}
		return record.Head.Ticket(), nil
	}
	ticket, ok := commands.ParseTicket(asked)
	if !ok {
		return commands.None, &commands.MalformedError{Code: commands.Malformed, Pointer: "/ticket",
			Detail: `"ticket" must be the id of an action, which is a UUID, or genesis, or head`}
	}
	return ticket, nil
}

// submit takes a message of another service in again.
func (a *API) submit(ctx context.Context, l *store.DeadLetter, d decision) (commands.ID, error) {
	switch {
	case d.ticket != "":
		return commands.None, &commands.MalformedError{Code: commands.Malformed, Pointer: "/ticket",
			Detail: "a message of another service is taken in as it came, with its own ticket"}
	case l.Message.Size > len(l.Message.Body):
		return commands.None, problem.Newf(commands.NotRetriable, "of its %d bytes the first %d were kept",
			l.Message.Size, len(l.Message.Body))
	case a.config.Submit == nil:
		return commands.None, problem.New(commands.NotRetriable,
			"this program takes no messages of other services: it is not connected to RabbitMQ")
	}
	if as := l.Decision.RetriedAs; as != commands.None {
		known, err := a.stands(ctx, as)
		if err != nil || known.Status != commands.StatusUnknown {
			return as, err
		}
	}
	as, err := a.config.Submit(ctx, l.Message, a.retryID(l))
	p, refused := errors.AsType[*problem.Problem](err)
	if refused && p.Status < http.StatusInternalServerError && p.Code != commands.RateLimited {
		again := problem.Newf(commands.NotRetriable, "it is refused again, as %s: %s", p.Code, p.Detail)
		again.Place, again.ID, again.Stream = p.Place, p.ID, p.Stream
		return as, again
	}
	return as, err
}

package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// listDead tells of dead letters, in the order in which they were kept.
func (a *API) listDead(w http.ResponseWriter, r *http.Request) error {
	p, err := pageOf(r, "origin", "decision")
	if err != nil {
		return err
	}
	query := store.DeadQuery{After: p.after, Limit: p.limit + 1, Origin: store.Origin(p.values.Get("origin"))}
	switch query.Origin {
	case "", store.OriginWorker, store.OriginAMQP:
	default:
		return problem.Newf(commands.Malformed, `the query parameter "origin" must be %s or %s`, store.OriginWorker, store.OriginAMQP)
	}
	switch decision := store.Resolution(p.values.Get("decision")); decision {
	case "":
		query.Resolution = store.Open
	case store.Open, store.Retried, store.Discarded:
		query.Resolution = decision
	case "all":
	default:
		return problem.Newf(commands.Malformed, `the query parameter "decision" must be %s, %s, %s or all`,
			store.Open, store.Retried, store.Discarded)
	}
	letters, err := a.config.Store.DeadLetters(r.Context(), query)
	if err != nil {
		return fmt.Errorf("list dead letters: %w", err)
	}
	letters, after := pageEnd(letters, p.limit, func(l *store.DeadLetter) uint64 { return l.N })
	view := LettersView{Items: make([]LetterView, len(letters)), After: after}
	for i := range letters {
		view.Items[i] = viewLetter(&letters[i])
	}
	return answer(w, view)
}

// letter reads the dead letter that a path names.
func (a *API) letter(r *http.Request) (store.DeadLetter, error) {
	text := r.PathValue("n")
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || text[0] == '+' {
		return store.DeadLetter{}, problem.New(commands.Malformed, "a dead letter is named by its number")
	}
	l, err := a.config.Store.DeadLetter(r.Context(), n)
	return l, letterError(n, err)
}

func letterError(n uint64, err error) error {
	switch {
	case errors.Is(err, store.ErrNoDeadLetter):
		return problem.Newf(commands.NotFound, "there is no dead letter number %d, or none any more", n)
	case err != nil:
		return fmt.Errorf("dead letter %d: %w", n, err)
	}
	return nil
}

func (a *API) getDead(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	l, err := a.letter(r)
	if err != nil {
		return err
	}
	return a.answerLetter(w, r, &l)
}

// answerLetter tells of a letter, and where the command stands that came of it.
func (a *API) answerLetter(w http.ResponseWriter, r *http.Request, l *store.DeadLetter) error {
	view := viewLetter(l)
	if id := l.Decision.RetriedAs; id != commands.None {
		stands, err := a.stands(r.Context(), id)
		if err != nil {
			return err
		}
		view.Retried = stands
	}
	return answer(w, view)
}

// stands tells where a command stands; unknown, when nothing is known of it.
func (a *API) stands(ctx context.Context, id commands.ID) (*commands.CommandView, error) {
	all, err := a.config.Store.Status(ctx, []commands.ID{id})
	if err != nil {
		return nil, fmt.Errorf("read where %s stands: %w", id, err)
	}
	var view commands.CommandView
	switch status := &all[0]; {
	case status.Outcome != nil:
		if view, err = a.config.Tell(ctx, status.Outcome); err != nil {
			return nil, fmt.Errorf("tell the outcome of %s: %w", id, err)
		}
	case status.Waiting != nil:
		view = parkedView(status)
	default:
		view = commands.CommandView{ID: id, Status: commands.StatusUnknown}
	}
	return &view, nil
}

func (a *API) discard(w http.ResponseWriter, r *http.Request) error {
	d, err := decode(r)
	if err != nil {
		return err
	}
	l, err := a.letter(r)
	if err != nil {
		return err
	}
	if l.Decision.Resolution == "" && l.Message == nil && !unreadable(&l) {
		// A retry sends before it is noted. Who made it and did not live to do that is noted by retrying again.
		sent, err := a.stands(r.Context(), a.retryID(&l))
		if err != nil {
			return err
		}
		if sent.Status != commands.StatusUnknown {
			return problem.Newf(commands.AlreadyDecided, "its command was sent again as %s, and only that was not noted: retry it for that",
				sent.ID)
		}
	}
	return a.decide(w, r, &l, store.Decision{Resolution: store.Discarded, By: d.by, Why: d.why})
}

// decide notes a decision, unless another one was made before, and tells what stands.
func (a *API) decide(w http.ResponseWriter, r *http.Request, l *store.DeadLetter, d store.Decision) error {
	d.At = a.config.Now().UTC()
	decided, err := a.config.Store.Decide(r.Context(), l.N, d)
	switch {
	case errors.Is(err, store.ErrDecided) && decided.Decision.Resolution == d.Resolution:
	case errors.Is(err, store.ErrDecided):
		was := &decided.Decision
		return problem.Newf(commands.AlreadyDecided, "%s %s it at %s: %s", was.By, was.Resolution,
			commands.AppendTime(nil, was.At), was.Why)
	case err != nil:
		return letterError(l.N, err)
	default:
		a.config.Log.Info("an operator decided on a dead letter", "letter", l.N, "decision", string(d.Resolution), "by", d.By, "why", d.Why,
			"retried_as", d.RetriedAs.String())
	}
	return a.answerLetter(w, r, &decided)
}

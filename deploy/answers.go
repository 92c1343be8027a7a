package deploy

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands/ingress"
	"github.com/ticketed/doorman/commands/problem"
)

const (
	// answerSoon is how long everybody else waits for the broker to say what becomes of some answers.
	answerSoon = time.Second
	// answerPatience is how long a queue is tried that does not take its answer (DESIGN section 4), answerPause the
	// pause in between.
	answerPatience = 10 * time.Second
	answerPause    = 500 * time.Millisecond
	// answersAgain is how many answers are tried again at once, and how many more may wait for that.
	answersAgain = 1024
)

// answers tells other services what was refused of theirs. Whoever's queue is full, or has nobody who answers for it,
// is tried again behind everybody else's back.
type answers struct {
	publisher interface {
		Deliver(ctx context.Context, notices []bus.Notice, within time.Duration) ([]bus.Receipt, error)
	}
	givenUp  interface{ Add(float64) }
	patience time.Duration // see answerPatience, which 0 stands for
	log      *slog.Logger
	again    chan lateAnswer
	trying   stretch
}

// lateAnswer is one that was not taken, with when it is given up.
type lateAnswer struct {
	bus.Notice
	until time.Time
}

// start begins to try again what is not taken, until trying ends.
func (a *answers) start() {
	a.again = make(chan lateAnswer, answersAgain)
	a.trying.begin()
	a.trying.runs.Go(a.tryAgain)
}

// reply is for ingress.Config.
func (a *answers) reply(ctx context.Context, replies []ingress.Reply) error {
	notices := make([]bus.Notice, len(replies))
	for i, r := range replies {
		notices[i] = bus.Notice{
			RoutingKey: r.To, MessageID: r.MessageID, CorrelationID: r.CorrelationID, ContentType: problem.ContentType,
			Body: r.Problem.AppendTo(nil), Persistent: true,
		}
	}
	receipts, err := a.publisher.Deliver(ctx, notices, answerSoon)
	if err != nil {
		return err
	}
	until := time.Now().Add(cmp.Or(a.patience, answerPatience))
	for i, receipt := range receipts {
		if !late(receipt) {
			continue
		}
		select {
		case a.again <- lateAnswer{notices[i], until}:
		default:
			a.givenUp.Add(1)
		}
	}
	return nil
}

// late tells whether an answer may still be taken. What has no queue, or can never be sent, will not.
func late(receipt bus.Receipt) bool { return receipt == bus.Refused || receipt == bus.Unanswered }

func (a *answers) tryAgain() {
	var waiting []lateAnswer
	for {
		select {
		case one := <-a.again:
			waiting = append(waiting[:0], one)
		case <-a.trying.ctx.Done():
			return
		}
		for len(waiting) > 0 {
			for len(a.again) > 0 && len(waiting) < answersAgain {
				waiting = append(waiting, <-a.again)
			}
			select {
			case <-time.After(answerPause):
			case <-a.trying.ctx.Done():
				return
			}
			waiting = a.try(waiting)
		}
	}
}

// try tells which answers were not taken this time either, and are not given up.
func (a *answers) try(waiting []lateAnswer) []lateAnswer {
	notices := make([]bus.Notice, len(waiting))
	for i := range waiting {
		notices[i] = waiting[i].Notice
	}
	receipts, err := a.publisher.Deliver(a.trying.ctx, notices, answerSoon)
	if err != nil { // it is over: it fails for nothing else
		return nil
	}
	now, left, given := time.Now(), waiting[:0], 0
	for i, receipt := range receipts {
		switch {
		case !late(receipt):
		case now.Before(waiting[i].until):
			left = append(left, waiting[i])
		default:
			given++
		}
	}
	if given > 0 {
		a.givenUp.Add(float64(given))
		a.log.Warn("queues of other services take no answers, which are given up", "answers", given)
	}
	return left
}

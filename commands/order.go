package commands

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Order marks an envelope that carries no command but an operator's word about one. It travels on the lane of
// that command's stream, and is carried out there in its place among the commands. Nothing is remembered of
// the order itself: what comes of it is the outcome of the command that it is about.
//
// Of such an envelope ID is the order's own, Stream and Ticket are the stream and the id of the command that it
// is about, Actor is who gave it and Data is why, as plain text.
type Order uint8

// The orders there are.
const (
	NoOrder     Order = iota // it is a command
	OrderReject              // the command is to be rejected if it is parked, and so is all that waits on it
)

// MaxWhy is the longest reason that an order gives, in characters. Who gives it is an actor, of [MaxActor].
const MaxWhy = 1000

// RejectOrder makes the order to reject a parked command. Who gave it and why is told to the command's sender.
func RejectOrder(parked ID, stream Stream, by, why string, at time.Time) Envelope {
	env := Seal(Command{ID: NewID(), Stream: stream, Ticket: parked, Actor: by, Data: []byte(why)}, at)
	env.Order = OrderReject
	return env
}

// OrderDetail is who gave an order and why, as one sentence for a person. The error says why the order cannot be
// carried out, by anybody: frames come from other releases, and whoever may publish on the broker.
func (e *Envelope) OrderDetail() (string, error) {
	by, why := e.Actor, string(e.Data)
	switch {
	case e.Order != OrderReject:
		return "", fmt.Errorf("this program knows no order number %d", e.Order)
	case by == "" || why == "":
		return "", errors.New("the order does not say who gave it and why")
	case !utf8.ValidString(by) || !utf8.ValidString(why):
		return "", errors.New("the texts of the order are no UTF-8")
	}
	if problem := WrongLabel("by", by, MaxActor); problem != "" {
		return "", errors.New(problem)
	}
	if problem := WrongLabel("why", why, MaxWhy); problem != "" {
		return "", errors.New(problem)
	}
	return "rejected by " + by + ": " + why, nil
}

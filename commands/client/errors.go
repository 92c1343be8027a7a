package client

import (
	"errors"
	"fmt"
	"net"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// RefusedError says that the server refused a request, and carries its reason. Of a command nothing was
// accepted.
type RefusedError struct {
	ID      commands.ID // of the command; None when it is not about one
	Problem *problem.Problem
	Err     error // what ended the trying when a later attempt might have been taken; else nil
}

func (e *RefusedError) Error() string {
	if e.ID == commands.None {
		return "refused: " + e.Problem.Error()
	}
	return fmt.Sprintf("command %s was refused: %s", e.ID, e.Problem.Error())
}

// Unwrap is what ended the trying.
func (e *RefusedError) Unwrap() error { return e.Err }

// FateUnknownError says that a command may have been accepted or not. Sending it again with the same id
// is safe and finds out.
type FateUnknownError struct {
	ID      commands.ID
	Problem *problem.Problem // what the server answered last; nil when it gave no answer
	Err     error            // what ended the trying; matches the context's error when it was that
}

func (e *FateUnknownError) Error() string {
	return fmt.Sprintf("it is unknown whether command %s was accepted, send it again with the same id: %v", e.ID, e.Err)
}

// Unwrap is what ended the trying.
func (e *FateUnknownError) Unwrap() error { return e.Err }

// ErrAttempts ends the trying when as many requests have been made as [Backoff] allows.
var ErrAttempts = errors.New("no more attempts")

// errFinal: the last answer does not tell, and asking again would bring the same one.
var errFinal = errors.New("the answer is no proof")

// neverSent tells of an error of the transport that it came before any byte of the request left.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "dial" || op.Op == "proxyconnect")
}

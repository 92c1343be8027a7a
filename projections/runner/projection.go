package runner

import (
	"context"
	"errors"

	"github.com/ticketed/doorman/commands"
)

// ErrMoved says that a projection's checkpoint is not where the caller believes it to be: another runner is
// at work on it. Nothing was applied.
var ErrMoved = errors.New("the checkpoint has moved")

// Checkpoint says up to where a projection holds the log of an epoch. The zero Checkpoint is that of a
// projection that has never been filled.
type Checkpoint struct {
	Epoch    string
	Position uint64
}

// After is the checkpoint once these outcomes, of which there are some, have been applied.
func (c Checkpoint) After(outcomes []*commands.Outcome) Checkpoint {
	return Checkpoint{Epoch: c.Epoch, Position: outcomes[len(outcomes)-1].Position}
}

// Projection is a fold over the log that is kept together with its checkpoint. Errors that pass by
// themselves are to match store.ErrUnavailable; after any error the runner begins anew at the checkpoint.
type Projection interface {
	// Name is told in logs and metrics, and does not change.
	Name() string
	// Checkpoint reads where the projection stands.
	Checkpoint(ctx context.Context) (Checkpoint, error)
	// Apply folds the outcomes that follow a checkpoint in and moves it to the last of them, in one
	// transaction: both happen or neither, whatever is killed meanwhile. When the projection does not stand
	// at that checkpoint it is ErrMoved, so nothing is applied twice. The outcomes belong to many and must
	// not be changed.
	Apply(ctx context.Context, outcomes []*commands.Outcome, at Checkpoint) error
	// Reset empties the projection and has it stand at the beginning of an epoch, in one transaction.
	Reset(ctx context.Context, epoch string) error
}

// Growing is a projection that wants to know when it is not to be taken for the whole.
type Growing interface {
	// WholeAt says that the projection tells too little until it stands at this position: it is being made
	// anew, or was found far behind. It is called before the projection is emptied.
	WholeAt(position uint64)
}

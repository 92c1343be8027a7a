package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// followNamed tells of streams and sessions, for as long as one is left that the server tells of.
func followNamed(ctx context.Context, c *client.Client, watch client.Watch, out *tailLines, contact *contact) error {
	refused := map[commands.Stream]string{}
	for push, err := range c.Follow(ctx, watch) {
		if err != nil {
			return err
		}
		contact.back()
		if err := out.push(&push); err != nil {
			return err
		}
		switch {
		case push.State != nil:
			delete(refused, push.State.Stream)
		case push.Refused != nil && push.Refused.ID == commands.None:
			refused[push.Refused.Stream] = refusal(push.Refused)
		}
		if len(refused) == len(watch.Streams) && len(watch.Sessions) == 0 {
			return nothingLeft(refused)
		}
	}
	return nil
}

func nothingLeft(refused map[commands.Stream]string) error {
	const most = 5
	names := make([]string, 0, len(refused))
	for stream, why := range refused {
		names = append(names, fmt.Sprintf("%s (%s)", stream, why))
	}
	slices.Sort(names)
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", more))
	}
	return fmt.Errorf("nothing is left to follow, the server does not watch %s", strings.Join(names, ", "))
}

// contact is how it stands with the server: a connection that breaks is made anew, but a server that refuses,
// or has failed again and again, will not tell what was asked for.
type contact struct {
	notes io.Writer
	end   context.CancelCauseFunc // ends the following
	over  error                   // why it was ended

	away   bool
	failed int // answers in a row that tell of a fault of the server's own
}

// mostFailed answers like 500 in a row are no hiccup.
const mostFailed = 5

func (c *contact) back() { c.away, c.failed = false, 0 }

func (c *contact) lost(err error) {
	refused, answered := errors.AsType[*client.RefusedError](err)
	switch {
	case !answered, passing(refused.Problem.Status):
		c.failed = 0
	case refused.Problem.Status < http.StatusInternalServerError:
		c.failed = mostFailed
	default:
		c.failed++
	}
	if c.failed >= mostFailed {
		c.over = err
		c.end(err)
		return
	}
	if !c.away { // said once, until it is back
		said := "The connection was lost"
		if answered {
			said = "The server does not tell what happens"
		}
		fmt.Fprintf(c.notes, "%s (%s); trying again.\n", said, sentence(err))
	}
	c.away = true
}

// passing statuses say that the next attempt may be answered: somebody is busy, or a server is being changed.
func passing(status int) bool {
	return slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout}, status)
}

package intake

import (
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

const (
	// overhead is what a request takes besides its body, roughly.
	overhead = 2 << 10
	// firstStep is what a body is given room for before the first of it has come. Each further step
	// doubles that, so that what is announced and does not come holds little.
	firstStep = 4 << 10
)

// hold takes memory from what all requests may hold together. What a request holds is given back with its
// answer.
func (in *Intake) hold(req *request, bytes int) *problem.Problem {
	n := int64(bytes)
	if in.memory.Add(n) > in.config.MemoryInFlight {
		in.memory.Add(-n)
		return problem.New(commands.RateLimited, "the requests under way hold all the memory there is for them")
	}
	req.held += n
	return nil
}

// readBody reads the whole body into the request's buffer, and no more than is allowed.
func (in *Intake) readBody(req *request, r *http.Request) *problem.Problem {
	limit := in.config.Limits.Bytes
	if r.ContentLength > int64(limit) {
		return tooLarge(limit)
	}
	end, known := limit+1, false // one byte more tells that it is too large
	if r.ContentLength >= 0 {
		end, known = int(r.ContentLength), true
	}
	req.body = req.body[:0]
	for room := 0; len(req.body) < end; {
		if len(req.body) == room {
			step := min(max(2*room, firstStep), end) - room
			if refused := in.hold(req, step); refused != nil {
				return refused
			}
			room += step
			req.grow(room)
		}
		n, err := r.Body.Read(req.body[len(req.body):room])
		req.body = req.body[:len(req.body)+n]
		switch {
		case err == nil || known && len(req.body) == end:
		case errors.Is(err, io.EOF) && !known:
			return nil
		default:
			return unread(err)
		}
	}
	if !known {
		return tooLarge(limit)
	}
	return nil
}

// grow makes the body's buffer at least that large, and keeps what is in it.
func (req *request) grow(size int) {
	if cap(req.body) < size {
		req.body = append(make([]byte, 0, max(size, 1<<10)), req.body...)
	}
}

func tooLarge(limit int) *problem.Problem {
	return problem.Newf(commands.TooLarge, "the body is larger than %d bytes", limit)
}

// unread is the problem of a body that broke off, or took too long.
func unread(err error) *problem.Problem {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return problem.New(commands.Malformed, "the body could not be read to its end")
	}
	p := problem.New(commands.Malformed, "the body did not come to its end in time")
	p.Status = http.StatusRequestTimeout
	return p
}

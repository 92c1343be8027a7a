package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy"
)

// addressError says that no operators are answered at an address, whatever they ask for.
type addressError struct{ error }

// anotherAddress is what to do about that.
const anotherAddress = "name the address for operators of a server that has the role gateway, which is not its address for clients, " +
	"with --admin-url or, as that server has it, DOORMAN_ADMIN_LISTEN"

// settle finds the address out, unless it was given.
func (o *operators) settle() error {
	if o.flags.Changed(adminURLFlag) || o.url != "" {
		return checkScheme(adminURLFlag, o.url)
	}
	var err error
	o.url, o.source, err = deploy.AdminURL(o.flags, o.app.environ)
	if err != nil {
		return &usageError{err}
	}
	return nil
}

// away says what to do about a server that is not reached.
func (o *operators) away(err error) error {
	if unwrapped, ok := errors.AsType[*url.Error](err); ok {
		err = unwrapped.Err
	}
	from := ""
	if o.source != "" {
		from = ", which is the " + o.source + " of admin_listen"
		if o.source != "default" {
			from = ", by admin_listen of " + o.source
		}
	}
	return &addressError{fmt.Errorf("no server answers operators at %s%s (%w): start one with 'doorman serve', or %s",
		o.url, from, err, anotherAddress)}
}

// refused makes an error of an answer that is one. A problem that is about what was asked for is told as it is.
func (o *operators) refused(ctx context.Context, asked, status string, p *problem.Problem) error {
	switch {
	case p == nil:
		return &addressError{fmt.Errorf("%s was answered %s: %s", asked, status, anotherAddress)}
	case p.Code == commands.Forbidden:
		return &addressError{fmt.Errorf("%s was answered %s: %s; so give --admin-url with the IP address, or add the name to "+
			"DOORMAN_ADMIN_HOSTS of the server", asked, status, p.Detail)}
	case p.Code == commands.NotFound && !o.answered(ctx):
		return &addressError{fmt.Errorf("%s was answered %s (%s): %s", asked, status, p.Detail, anotherAddress)}
	}
	return p
}

// answered tells whether operators are answered at all at this address.
func (o *operators) answered(ctx context.Context) bool {
	status, _, err := o.do(ctx, http.MethodGet, "openapi.json", nil, nil)
	return err == nil && status == http.StatusOK
}

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy"
)

// operators are the flags of what is asked of a server's operators' address, and how it is asked.
type operators struct {
	app     *app
	flags   *pflag.FlagSet
	url     string
	source  string // of the settings that the address is from; empty when it was given
	asJSON  bool
	by, why string
}

const (
	adminURLFlag = "admin-url"
	adminURLText = "`address` of a server's operators (default that of admin_listen, as 'doorman config' shows it)"
)

// operatorsOf gives a command the flags that all of these have.
func operatorsOf(a *app, cmd *cobra.Command) *operators {
	o := &operators{app: a, flags: cmd.Flags()}
	o.flags.StringVar(&o.url, adminURLFlag, "", adminURLText)
	deploy.AddConfigFlag(o.flags)
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "as the JSON that the server answers with")
	return o
}

// decides gives a command the flags of a decision.
func (o *operators) decides(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.by, "by", "", "`name` of who decides it; $USER by default")
	cmd.Flags().StringVar(&o.why, "why", "", "`reason`, which is kept and told")
	_ = cmd.MarkFlagRequired("why") // it is a flag of this command
}

// decision is the body of a decision, with more members of their name and value.
func (o *operators) decision(more ...string) ([]byte, error) {
	by := o.by
	if by == "" {
		by = o.app.getenv("USER")
	}
	switch {
	case strings.TrimSpace(by) == "":
		return nil, usagef("--by: who decides it is not known, as USER is not set: name them with --by")
	case strings.TrimSpace(o.why) == "":
		return nil, usagef("--why: it is empty")
	}
	body := map[string]string{"by": by, "why": o.why}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] != "" {
			body[more[i]] = more[i+1]
		}
	}
	return json.Marshal(body)
}

// operatorsTime is how long an answer may take: longer than the server waits for what comes of an order.
const operatorsTime = 30 * time.Second

// mostAnswered bounds an answer, in bytes: a page of a thousand dead letters, or one of a MiB with its cause.
const mostAnswered = 64 << 20

// ask makes one request and reads the answer into view. The error is a *problem.Problem when the server says no to what
// was asked for, and an *addressError when nobody there says anything to operators.
func (o *operators) ask(
	ctx context.Context, method, path string, query url.Values, body []byte, view any,
) (status int, raw []byte, err error) {
	if err := o.settle(); err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, operatorsTime)
	defer cancel()
	status, raw, err = o.do(ctx, method, path, query, body)
	if err != nil {
		return 0, nil, err
	}
	asked := method + " " + o.address(path)
	if status >= http.StatusBadRequest {
		p := &problem.Problem{}
		if err := json.Unmarshal(raw, p); err != nil || p.Code == "" {
			p = nil
		}
		return status, raw, o.refused(ctx, asked, fmt.Sprint(status, " ", http.StatusText(status)), p)
	}
	if err := json.Unmarshal(raw, view); err != nil {
		return status, raw, &addressError{fmt.Errorf("%s was answered with what is none of Doorman's (%w): %s", asked, err, anotherAddress)}
	}
	return status, raw, nil
}

// address is where a path of the API is.
func (o *operators) address(path string) string {
	return strings.TrimRight(o.url, "/") + "/admin/v1/" + path
}

// do makes one request and reads the answer, whatever it is.
func (o *operators) do(
	ctx context.Context, method, path string, query url.Values, body []byte,
) (status int, raw []byte, err error) {
	address := o.address(path)
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, &usageError{fmt.Errorf("--admin-url: %w", err)}
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, nil, o.away(err)
	}
	defer response.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(response.Body, mostAnswered))
	if err != nil {
		return 0, nil, fmt.Errorf("the answer of %s broke off: %w", o.url, err)
	}
	return response.StatusCode, raw, nil
}

// printJSON prints an answer, indented.
func (o *operators) printJSON(raw []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := o.app.stdout.Write(b.Bytes())
	return err
}

package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/deploy/openapi/openapitest"
)

// decided is the body of an operator's decision.
const decided = `{"by":"op","why":"a test"}`

// operator rejects parked commands over the admin API.
func operator(t *testing.T, adminURL string) func(context.Context, commands.ID) error {
	t.Helper()
	return func(ctx context.Context, id commands.ID) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, adminURL+"/admin/v1/parked/"+id.String()+"/reject",
			bytes.NewReader([]byte(decided)))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %d: %s (%w)", response.StatusCode, text, err)
		}
		return nil
	}
}

// toldOperator is what the tests here look at in an answer.
type toldOperator struct {
	Code     commands.Reason
	Status   any
	Reason   commands.Reason
	Detail   string
	Pointer  string
	Position string
}

// newOperator calls the admin API of a program. All that passes is as its document says.
func newOperator(t *testing.T, p *Program) (*caller, *openapitest.Checker) {
	t.Helper()
	checker := describedAt(t, p.AdminURL()+"/admin/v1/openapi.json")
	call := newCaller(t, p.AdminURL())
	call.http.Transport = checker.Watch(call.http.Transport)
	t.Cleanup(func() { require.Empty(t, checker.Complaints()) })
	return call, checker
}

func (c *caller) decide(path, body string, header ...string) (int, toldOperator) {
	c.t.Helper()
	got := c.do(http.MethodPost, "/admin/v1/"+path, body, append([]string{"Content-Type: application/json"}, header...)...)
	var told toldOperator
	require.NoError(c.t, json.Unmarshal([]byte(got.body), &told), got.body)
	return got.status, told
}

// DESIGN section 2: an operator may reject a parked command, with who and why; it cascades, and each session is told.
func TestAnOperatorRejectsAParkedCommand(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*testing.T) *Config{"sqlite": local, "postgres": onPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, call := start(t, configure(t))
			admin, _ := newOperator(t, p)
			first := create(`{}`)
			chain := []commands.Command{patch(first.ID, `{"a":1}`)}
			for range 4 {
				chain = append(chain, patch(chain[len(chain)-1].ID, `{"b":2}`))
			}
			for i := range chain {
				chain[i].Session = fmt.Sprintf("tab-%d", i)
				_, err := call.Send(t.Context(), chain[i], client.SendOptions{})
				require.NoError(t, err)
			}
			path := "parked/" + chain[1].ID.String() + "/reject"
			status, told := admin.decide(path, `{"by":"Olga","why":"a mistake"}`)
			require.Equal(t, 200, status)
			require.Equal(t, commands.RejectedByOperator, told.Reason)
			require.Equal(t, "rejected by Olga: a mistake", told.Detail)
			require.NotEmpty(t, told.Position)

			for i, c := range chain {
				view, err := call.Status(t.Context(), c.ID)
				require.NoError(t, err)
				switch i {
				case 0:
					require.Equal(t, commands.StatusParked, view[0].Status)
				case 1:
					require.Equal(t, commands.RejectedByOperator, view[0].Reason)
				default:
					require.Equal(t, commands.PredecessorRejected, view[0].Reason)
					require.Equal(t, chain[1].ID, view[0].Root)
					require.Equal(t, commands.RejectedByOperator, view[0].RootReason)
				}
				if i > 0 {
					told := call.do(http.MethodGet, "/v1/notifications?session="+c.Session+"&after="+p.store.Identity().Epoch+"-0", "",
						"Accept: application/json", "Prefer: wait=10")
					require.Contains(t, told.body, `"id":"`+c.ID.String()+`"`)
				}
			}

			status, told = admin.decide(path, decided)
			require.Equal(t, 200, status, "once more: it is so already")
			require.Equal(t, "rejected by Olga: a mistake", told.Detail)
			status, told = admin.decide("parked/"+chain[2].ID.String()+"/reject", decided)
			require.Equal(t, 409, status)
			require.Equal(t, commands.NotParked, told.Code)
			_, err := call.Send(t.Context(), first, client.SendOptions{Wait: 10 * time.Second})
			require.NoError(t, err)
			status, told = admin.decide("parked/"+first.ID.String()+"/reject", decided)
			require.Equal(t, 409, status)
			require.Contains(t, told.Detail, "it landed, at position ")
			status, told = admin.decide("parked/"+commands.NewID().String()+"/reject", decided)
			require.Equal(t, 404, status)
			require.Equal(t, commands.NotFound, told.Code)
		})
	}
}

// A page of the web must not be able to decide anything through a browser.
func TestOperatorsAreNotAnsweredThroughPagesOfTheWeb(t *testing.T) {
	t.Parallel()
	p, _ := start(t, local(t))
	admin, _ := newOperator(t, p)
	path := "parked/" + commands.NewID().String() + "/reject"
	for _, header := range []string{
		"Origin: https://evil.example", "Origin: null", "Origin: " + p.URL(), "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site",
		"Host: evil.example:8081", "Host: 127.0.0.1.evil.example",
	} {
		status, told := admin.decide(path, decided, header)
		require.Equal(t, 403, status, header)
		require.Equal(t, commands.Forbidden, told.Code, header)
	}
	for _, header := range []string{"Content-Type: text/plain", "Content-Type: application/x-www-form-urlencoded"} {
		status, told := admin.decide(path, decided, header)
		require.Equal(t, 415, status, header)
		require.Equal(t, commands.UnsupportedMediaType, told.Code, header)
	}
	for _, header := range []string{"Origin: " + p.AdminURL(), "Host: gateway:8081", "Host: localhost", "Host: [::1]:8081", "Sec-Fetch-Site: none"} {
		status, _ := admin.decide(path, decided, header)
		require.Equal(t, 404, status, header)
	}
	asked := admin.do(http.MethodOptions, "/admin/v1/"+path, "", "Origin: https://evil.example", "Access-Control-Request-Method: POST")
	require.Equal(t, 405, asked.status)
	require.Empty(t, asked.header.Get("Access-Control-Allow-Origin"))
}

func TestAProcessThatServesNoOperatorsSaysWhy(t *testing.T) {
	t.Parallel()
	c := local(t)
	c.Roles = []string{RoleProjector}
	p := &Program{config: c}
	w := httptest.NewRecorder()
	p.noOperators(w, nil)
	require.Equal(t, 404, w.Code)
	require.Contains(t, w.Body.String(), "the role gateway; this one has projector")
	c.Roles = []string{RoleGateway}
	w = httptest.NewRecorder()
	p.noOperators(w, nil)
	require.Equal(t, 503, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
}

// At the end operators are answered as clients are.
func TestRequestsOfOperatorsAreWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		came, goOn := make(chan struct{}), make(chan struct{})
		c := &counted{handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(came); <-goOn })}
		go c.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		<-came
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.drain(short), errCutOff)
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		require.Equal(t, 503, w.Code)
		close(goOn)
		synctest.Wait()
		require.NoError(t, c.drain(t.Context()))
	})
}

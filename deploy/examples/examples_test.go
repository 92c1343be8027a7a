//go:build unix

package examples

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the Python example's file

	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// orders is how many orders are sent: enough to be killed among them.
const orders = 30

// The examples do what the page says, by its own commands, though they are killed with kill -9 while they are at it:
// every order is seen through once, and the table is that of the streams themselves.
func TestTheExamplesSurviveBeingKilled(t *testing.T) {
	t.Parallel()
	for _, language := range []struct {
		title, folder string
		table         func(*testing.T, string) map[string]row
	}{{"Python", "python", fromSQLite}, {"Node.js", "node", fromJSON}, {"Go", "go", fromJSON}} {
		t.Run(language.title, func(t *testing.T) {
			t.Parallel()
			follow, send := commandsOf(t, language.title)
			d := newDoorman(t)
			before := d.order(t) // there was something before anybody followed
			shop := newShop(t, d, language.folder)

			following := shop.run(t, "DOORMAN_URL=http://127.0.0.1:1 "+follow)
			following.says("following")
			d.goOn(t, before)
			following.fails("DOORMAN_URL says where Doorman is") // and what it could not take in comes again

			following = shop.run(t, follow)
			following.says("following")
			sending := shop.run(t, strings.Replace(send, "10", "30", 1))
			sending.says("again with ticket") // a stale command was rejected, and is under way anew
			sending.kill()
			following.kill()

			following = shop.run(t, follow)
			following.says("following")
			sending = shop.run(t, send)
			sending.ends("all is settled")
			shop.run(t, send).ends("all is settled") // there is nothing left to do

			want := d.streams(t, before)
			require.Len(t, want, orders+1)
			shop.await(t, "the table is that of the streams", func() bool {
				got := language.table(t, shop.folder)
				return reflect.DeepEqual(got, want)
			})
			following.terminate()
			d.eachOnce(t, before)
		})
	}
}

// What is not there is told on one line, with what to set, and exit code 1: by the program, not by a stack.
func TestTheExamplesSayOnALineWhatIsMissing(t *testing.T) {
	t.Parallel()
	for title, code := range map[string]string{"Python": "python", "Node.js": "node", "Go": "go"} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			nobody := &doorman{prefix: rabbitmqtest.Config(t).Prefix, url: "http://127.0.0.1:1"}
			follow, send := commandsOf(t, title)
			shop := newShop(t, nobody, code)
			for line, exchange := range map[string]string{follow: ".events", send: ".commands"} {
				shop.run(t, "SHOP_FOLDER=/nowhere/at/all "+line).fails("there is no folder /nowhere/at/all: SHOP_FOLDER names ")
				shop.run(t, "AMQP_URL=amqp://u:secret@127.0.0.1:1 "+line).fails("no connection to RabbitMQ at 127.0.0.1:1 (")
				shop.run(t, "AMQP_URL=secret "+line).fails("AMQP_URL is no address such as amqp://")
				shop.run(t, line).fails("there is no exchange " + nobody.prefix + exchange + " (")
				for _, unknown := range []string{"--bogus", "extra"} {
					wrong := shop.run(t, line+" "+unknown)
					wrong.awaitEnd()
					require.NotZero(t, wrong.command.ProcessState.ExitCode())
					require.Contains(t, wrong.text(), strings.Trim(unknown, "-"))
					require.NotContains(t, wrong.text(), "there is no exchange")
				}
			}
		})
	}
}

// row is an order in a table.
type row struct {
	Sequence uint64
	Status   string
	Lines    map[string]line
}

type line struct {
	Qty        int64 `json:"qty"`
	PriceCents int64 `json:"price_cents"`
}

func fromJSON(t *testing.T, folder string) map[string]row {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "orders.json"))
	require.NoError(t, err)
	var table map[string]row
	require.NoError(t, json.Unmarshal(text, &table))
	return table
}

func fromSQLite(t *testing.T, folder string) map[string]row {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(folder, "orders.db")+"?_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "select stream, sequence, status, lines from orders")
	require.NoError(t, err)
	defer rows.Close()
	table := map[string]row{}
	for rows.Next() {
		var stream, lines string
		var r row
		require.NoError(t, rows.Scan(&stream, &r.Sequence, &r.Status, &lines))
		require.NoError(t, json.Unmarshal([]byte(lines), &r.Lines))
		table[stream] = r
	}
	require.NoError(t, rows.Err())
	return table
}

// order is one that has two events before anybody follows.
func (d *doorman) order(t *testing.T) commands.Stream {
	t.Helper()
	stream := commands.Stream{Type: "order", ID: commands.NewID().String()}
	ticket := d.land(t, stream, "add_line", commands.Genesis, `{"sku":"A1","qty":2,"price_cents":1250}`)
	d.land(t, stream, "add_line", ticket, `{"sku":"B2","qty":1,"price_cents":300}`)
	return stream
}

// goOn lets the next thing happen to it.
func (d *doorman) goOn(t *testing.T, stream commands.Stream) {
	t.Helper()
	now, err := d.client.Stream(t.Context(), stream)
	require.NoError(t, err)
	d.land(t, stream, "submit", now.Ticket, `{}`)
}

func (d *doorman) land(t *testing.T, stream commands.Stream, kind string, ticket commands.ID, data string) commands.ID {
	t.Helper()
	c := commands.Command{ID: commands.NewID(), Stream: stream, Type: kind, Ticket: ticket, Data: []byte(data)}
	told, err := d.client.Send(t.Context(), c, client.SendOptions{Wait: patience})
	require.NoError(t, err)
	require.Equal(t, commands.StatusLanded, told.Status)
	return c.ID
}

// streams are what the orders look like to Doorman.
func (d *doorman) streams(t *testing.T, before commands.Stream) map[string]row {
	t.Helper()
	table := map[string]row{}
	for _, stream := range d.catalog(t) {
		view, err := d.client.Stream(t.Context(), stream)
		require.NoError(t, err)
		var state struct {
			Status string
			Lines  []struct {
				line
				SKU string
			}
		}
		require.NoError(t, json.Unmarshal(view.State, &state))
		r := row{Sequence: view.Version, Status: state.Status, Lines: map[string]line{}}
		for _, l := range state.Lines {
			r.Lines[l.SKU] = l.line
		}
		table[stream.String()] = r
		if stream != before {
			require.Equal(t, "submitted", state.Status)
			require.EqualValues(t, 4, view.Version, "two lines, a change and a submission, each of them once")
			require.Equal(t, map[string]line{"A1": {3, 1250}, "B2": {1, 300}}, r.Lines)
		}
	}
	return table
}

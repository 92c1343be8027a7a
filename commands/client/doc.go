// Package client is the Go client of Doorman's HTTP interface, as the command line, the tests and other
// services use it.
//
//	c, err := client.New(client.Config{BaseURL: "http://127.0.0.1:8080"})
//	now, err := c.Stream(ctx, order)
//	told, err := c.Send(ctx, commands.Command{Stream: order, Type: "add_line", Ticket: now.Ticket, Data: data},
//	    client.SendOptions{Wait: 5 * time.Second})
//
// # What may come of sending
//
// A rejection is an outcome, so it is a value: told.Status says landed or rejected, and a rejection tells
// the ticket, state and changes to try again with. An error says that there is no outcome to tell:
//
//   - *[RefusedError]: the server refused the command before accepting it, and says why. It will never
//     take effect by this sending.
//   - *[FateUnknownError]: it may have been accepted. Send it again with the same id, which has no second
//     effect, or ask for its [Client.Status].
//   - anything else: the server was not reached, or the command could not be sent as it is; nothing was
//     accepted.
//
// # Following
//
// [Client.Follow] tells of streams and of sessions' commands as it happens, over one connection that it makes
// anew as often as need be, in order, once, and without a hole.
//
// # Trying again
//
// What a server may answer better a moment later (429, 502, 503, 504, no answer at all) is sent again, with
// the same id, after a pause of random length that grows (exponential backoff with full jitter), and not
// before the server's Retry-After. It ends with the context, so give it a deadline. A client is made for use
// by many goroutines.
package client

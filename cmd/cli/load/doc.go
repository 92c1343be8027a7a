// Package load makes honest load on a running server and says what came of it.
//
// It plays many clients that each work on their own streams: a client makes ids for its commands (version
// 7, as recommended), and names in each command the one that it sent before on that stream. So what goes
// out is chains of tickets, and a server that loses, repeats or reorders anything is found out.
//
//	report, err := load.Run(ctx, load.Config{URL: "http://127.0.0.1:8080", Duration: 10 * time.Second})
//	if err == nil && !report.OK() {
//	    fmt.Println(report.Failures)
//	}
//
// # What is sent
//
// With at least as many streams as connections, each connection owns some streams and sends on them in
// turn; the next command goes out when the previous one was answered. With fewer streams several
// connections share one: its chain is sent without waiting, over parallel connections, so it may well
// arrive out of order and be parked. That is the product's job, and part of what is measured.
//
// A share of the commands can be made difficult: sent before their predecessor, sent twice, or sent with
// a ticket that is known to be superseded. A refusal (503, 429) is obeyed: the same command goes out again
// after Retry-After, and so does one whose connection broke, under the same id.
//
// # What is measured
//
// POST→202 is the time to the acknowledgement. A share of the commands (WaitShare) is posted with
// "Prefer: wait" instead; the time to their answer is POST→landed. At a given Rate both count from the
// moment at which the command was due, whether or not a connection was free then, so that a server that
// stalls does not stop the clock. Without a rate the server sets the pace and latency counts from sending.
//
// Landed/s is what landed over the time from the first POST until the last outcome was known. After that,
// outside of the timed window, every accepted command is looked up: each must have come to exactly one
// outcome, the right one, at a version and a position of its own.
//
// # What those who watch are told
//
// Watchers are connections to GET /v1/notifications in the same loop. Each push is read as far as the stream
// and the version, which is all that it takes to know whether any version was left out or told again, and how
// long ago the command was due that made it. A run ends when every watcher knows the newest version of each of
// its streams.
//
// # What it costs
//
// Client and server usually share a machine, so the client must be lean: one thread, prepared bytes,
// epoll, and the few parts of HTTP/1.1 that it needs. What a loopback connection costs in the kernel
// remains, and is by far the most of it. The report tells the CPU time of each side. Ids are kept for the
// check, 16 bytes a command; nothing else grows.
package load

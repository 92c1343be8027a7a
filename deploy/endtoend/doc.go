// Package endtoend holds tests of the whole program: processes that are started, killed, stopped, frozen,
// starved and overrun, and asked over HTTP what became of what they had accepted. It has no code to use.
//
// A test starts the program as a process of its own, on each store, sends it commands and breaks something:
//
//	each(t, func(t *testing.T, p *place) {       // a folder, or a schema
//		server := p.start(t)                     // returns once it is ready
//		s := newSender(t, p.url(), 16)           // posts until accepted, and keeps account
//		…
//		server.kill()
//		server = p.start(t)                      // same data, same address
//		audit(t, p.url(), s.commands())          // everything the promises say, read through the API
//	})
//
// The process is this test's own binary, which acts as doorman when it is told to ([TestMain]): the command
// line of package cli with a few aggregate types made for breaking things. So it is under the race detector
// whenever the tests are, as with `make test WHOLE_RACE=1`, and a race in it fails the test that ran it.
//
// What is random comes from a seed that every test prints; DOORMAN_TEST_SEED takes it back.
package endtoend

// Package welcome is the page at / of the public address: what this server is, the types it serves, and for each
// of their commands what it does, the policies that it may be sent with, and a request to copy that works.
//
//	page, err := welcome.New(registry, chains.All(registry), text, welcome.Links{Demo: "/demo/"})
//	mux.Handle("GET /{$}", page) // HTML for who takes it, the plain text for everybody else
//
// The page is made once. What differs from one visit to the next, which is the address it was asked at and the
// ids in the requests, is put in between when it is served. So the requests of a page belong together, the
// streams they make are new ones with each visit, and sending one twice shows that nothing happens twice.
//
// It carries no script and loads nothing, which its Content-Security-Policy holds it to.
package welcome

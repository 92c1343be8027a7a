// Package admin is the operators' half of the API: what is parked, and what could not be carried out, to be looked
// at and decided on. It is served on a listener of its own, by processes that can send commands.
//
//	api, err := admin.New(admin.Config{Reader: store, Send: sender.Send, …})
//	api.Mount(mux)
//
//	POST /admin/v1/parked/{id}/reject      {"by","why"}: it is rejected, with all that waits on it
//
// Who decides says so, and why, as "by" and "why". Both are kept, and told to whom they concern.
//
// Nobody is asked for a password here: whoever reaches the listener may decide, as a rule from the same machine
// alone. A page of the web must not be able to, through the browser of somebody who may; see [API.guarded].
package admin

// Package vetting is what commands are held against before they are accepted, whichever way they come: the text
// itself, the type that they are for, and those that they were sent with.
//
//	read, refused := rules.Decode(body)
//	for i := range read.Items {
//		entries[i].Read(&read.Items[i])
//	}
//	rules.CheckArray(entries)
//	for _, e := range entries {
//		if e.Refused == nil {
//			e.Seal(now)
//		}
//	}
//
// Whoever takes commands adds to an entry what the way that it came says about it, between Read and Check: over
// HTTP that are headers, over AMQP a message's properties.
package vetting

// Package asyncapitest holds what passes over a broker against an AsyncAPI document, and the document against what
// AsyncAPI 3.0 asks of one.
//
//	checker, err := asyncapitest.New(text)   // the error tells every fault of the document
//	checker.Observe(&asyncapitest.Message{…}) // each that came
//	checker.Complaints()                      // what was not as the document says
//	checker.Unmet()                           // the messages that it tells of and that never came
package asyncapitest

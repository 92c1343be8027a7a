// Package asyncapi describes the interface over RabbitMQ (DESIGN section 4) as an AsyncAPI 3.0 document, made from
// the types that a program serves:
//
//	text, err := asyncapi.Build(asyncapi.Config{
//		Types: registry, Examples: chains.All(registry), Prefix: "doorman", Limits: limits,
//	})
//
// In it are the commands of each type with their schemas and examples, and what is answered; the events of each type
// with the headers that they travel with, the schema of their data as far as its Go type tells it, and an example;
// outcomes and dead letters. What comes from here is described strictly: a header, a property or a member that the
// document does not name may not come. Package asyncapitest holds what passes over a broker against it, and deploy
// does so while the whole contract is tried.
//
// AsyncAPI has no words for the properties of AMQP's messages, such as message_id, which are no headers: they are
// told in each message's binding as x-properties, a schema of an object with a member for each, and the routing
// key as x-routing-key. A schema is one of draft 7 with AsyncAPI's own words, so what package schemas says in
// those of 2020-12 is said otherwise here.
//
// The document is the same bytes for the same types and prefix. testdata has the one of the built-in types:
//
//	go test ./deploy/asyncapi -run Golden -update
//
// The tests hold it against AsyncAPI's own JSON Schema, which comes from npm (package.json).
package asyncapi

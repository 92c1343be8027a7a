// Package rabbitmq is the bus between processes: a bus.Publisher and a Watermill subscriber on RabbitMQ.
//
//	config := rabbitmq.Config{URL: "amqp://guest:guest@127.0.0.1:5672", Topics: topics}
//
//	publisher, err := rabbitmq.NewPublisher(ctx, config)            // a gateway
//	sender, err := bus.NewSender(publisher, bus.SenderConfig{Lanes: 16})
//
//	subscriber, err := rabbitmq.NewSubscriber(ctx, config)          // a worker
//	frames, err := subscriber.Subscribe(ctx, bus.LaneTopic(3))
//	m := <-frames
//	m.Ack()
//
// # On the broker
//
// A topic is a durable quorum queue named <prefix>.<topic>, published to by its name through the default
// exchange, with persistent messages. Queues are declared by whoever comes first, and again after every
// reconnect. They are bounded (reject-publish), have no delivery limit, because a limit would drop accepted
// commands after enough crashes, and a single active consumer: who takes a lane over gets nothing before
// its predecessor has given back all it held, and that first. All that knows RabbitMQ 3.10 or later can
// look into them; message_id is the message's id, headers are its metadata, and correlation_id numbers the
// publishings of a channel.
//
// A queue is not published to in the first second after it was made: a broker that is killed before it has
// noted the queue's name on disk forgets it, with all that it has confirmed.
//
// A prefix is one log's alone: [Claim] makes it that, or tells that it is another's.
//
// # Publishing
//
// A [Publisher] has one connection and on it a channel for each topic, with two goroutines: one writes
// what was handed over, in order, the other hears what the broker confirms. So nobody waits for the network
// in PublishAsync, hundreds of messages are under way at a time, and a lane whose queue is slow or broken
// keeps no other waiting. There are four ends of a message, and it meets one of them within
// Config.ConfirmTimeout, whatever happens:
//
//	nil                  confirmed: most of the cluster has it on disk
//	bus.ErrUnavailable   not sent, returned or refused: there is no connection, no queue, no memory or no
//	                     leader at the broker, or the queue is full, which it does not tell apart
//	bus.ErrFull          not sent: a bound of the publisher's is reached
//	bus.ErrFateUnknown   written, and then the connection was lost or silent
//
// and bus.ErrClosed for what [Publisher.Close] finds unwritten. A message that no queue takes would be
// confirmed all the same; it is published as mandatory, comes back, and is told as unavailable. While the
// broker says that it is blocked, everything is refused at once instead of being stuck in the socket.
//
// # Consuming
//
// A [Subscriber] has one connection and on it a channel for each subscription, with one goroutine, whatever
// the number of messages. Up to Config.Prefetch of them are handed out unacknowledged, in the order of the
// queue; they lie in the Go channel's buffer, so whoever reads it without waiting gets what is there. They
// may be acknowledged in any order; the broker is told of acknowledgements in the order of delivery, many
// with one word, each one within Config.AckEvery once those before it are settled. A nacked message goes to the end of
// its queue.
//
// When the connection is lost, the contexts of the messages in hand end, what nobody has read is taken
// back, and all that the broker was not told to be acknowledged comes again over the next connection. Who reads
// meanwhile may get one past others that are taken back; its context has ended already, so it is to be passed over.
// A message that was delivered before says so under bus.DeliveriesKey in its metadata.
//
// # Exchanges
//
// [Exchanges] publishes notices in confirmed batches to the topic exchanges <prefix>.events and <prefix>.outcomes,
// to which other services bind queues. Whether anybody has bound one cannot be known beforehand: the protocol
// tells only by returning a mandatory message, which would have reached whoever did.
//
// What goes to one queue of somebody's own, as an answer does, is delivered one by one, each with what became of it
// ([Exchanges.Deliver]); so is what goes to <prefix>.dead, the exchange for what could not be carried out. To that one
// a bounded queue of the same name is bound, for those who come later and look.
//
// [Tail] tells other processes what has just happened, by the exchange <prefix>.tail and a queue of each
// subscriber's own that ends with it. It loses what it must.
//
// # Commands of other services
//
// An [Ingress] consumes what other services publish to the exchange <prefix>.commands, with any routing key, from the
// quorum queue of that name. Several gateways share it. Up to Config.Prefetch messages are in hand, in any order of
// settling, and of their bodies as many bytes as there is room for: beyond that the socket is not read. Nothing in them
// is trusted. Of a body no more is kept than a dead letter keeps, however large it is. Headers that RabbitMQ takes and
// the client library does not (more than 32 levels, more than 8,192 elements, or a frame that the broker has made one
// byte too large) would end the connection each time they are delivered, and with it whatever is in hand; they are
// replaced before the library sees them, which is why TLS is spoken below it here.
//
// What comes back again and again is met alone, one message in hand, so that a message that ends whoever reads it hits
// no others. After 20 returns the broker puts it to the exchange <prefix>.dead.
//
// A gateway that cannot take commands for a while gives back what it has in hand and consumes nothing, so that others
// get it.
//
// # Connections
//
// Publishing and consuming have separate connections, because a broker that is short of memory stops
// reading from those that publish, heartbeats and acknowledgements included. A lost connection is made
// anew with growing pauses, for as long as it takes; several URLs are tried in turn. Heartbeats go out every
// 10 s on publishing connections and every 4 s on consuming ones, where the broker notices within 15 s that a
// worker is frozen and gives what it held to the next.
//
// Package rabbitmqtest gives tests a broker.
package rabbitmq

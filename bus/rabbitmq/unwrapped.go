package rabbitmq

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"os"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"
)

// unwrapped is for connections whose words are looked at before the library reads them: TLS is spoken below that,
// and the library is told that there is none. Without TLS, secure is nil.
func unwrapped(url string, config *tls.Config) (plain string, secure *tls.Config, err error) {
	uri, err := amqp.ParseURI(url)
	if err != nil || uri.Scheme != "amqps" {
		return url, nil, err
	}
	parsed, err := neturl.Parse(url)
	if err != nil {
		return "", nil, err
	}
	parsed.Scheme, parsed.Host = "amqp", net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))
	if config == nil {
		config, err = tlsOf(uri)
	} else {
		config = config.Clone()
	}
	if err == nil && config.ServerName == "" {
		config.ServerName = uri.Host
	}
	return parsed.String(), config, err
}

// tlsOf reads the parameters of an address as the library does.
func tlsOf(uri amqp.URI) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: uri.ServerName}
	if uri.CACertFile != "" {
		text, err := os.ReadFile(uri.CACertFile)
		if err != nil {
			return nil, fmt.Errorf("read CA certificate: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, errors.New("read CA certificate: there is none in the file")
		}
	}
	if uri.CertFile != "" && uri.KeyFile != "" {
		own, err := tls.LoadX509KeyPair(uri.CertFile, uri.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}

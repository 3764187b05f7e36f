package edge

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// checkEvery bounds how often files are looked at for changes. A check is one
// stat for each file, made by a goroutine that is about to do a handshake.
const checkEvery = time.Second

// ServerFiles say how a listener speaks TLS.
type ServerFiles struct {
	// Pairs are the certificates, at least one. A client is shown the first
	// that is good for the server name that it asks for and for what else it
	// says of itself, or else the very first.
	Pairs []Pair
	// ClientCAFile, when not empty, holds the authorities by one of which a
	// client's certificate must be signed.
	ClientCAFile string
	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13.
	MinVersion uint16
}

// Pair names the file with a certificate and its chain, and that with its key,
// both in PEM.
type Pair struct{ CertFile, KeyFile string }

// ServerTLS is the TLS of a listener. Its files are read again when they
// change; when what they hold then is of no use, what was read before stays
// in force and the error is logged. Any goroutine may use it.
type ServerTLS struct{ r reloading }

// NewServerTLS reads the files.
func NewServerTLS(f ServerFiles, logger *slog.Logger) (*ServerTLS, error) {
	paths := []string{f.ClientCAFile}
	for _, p := range f.Pairs {
		paths = append(paths, p.CertFile, p.KeyFile)
	}
	t := &ServerTLS{r: reloading{paths: paths, build: f.config, log: logger}}
	if err := t.r.load(); err != nil {
		return nil, err
	}
	return t, nil
}

// Config is what a handshake that begins now goes by. Each set of files has
// its own session ticket keys, so that no session can be resumed past a change
// of certificates or authorities.
func (t *ServerTLS) Config() *tls.Config { return t.r.current() }

func (f ServerFiles) config() (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: f.MinVersion,
		// Small first records help pages that are rendered while they load;
		// here they would only make several writes of one.
		DynamicRecordSizingDisabled: true,
	}
	for _, p := range f.Pairs {
		cert, err := keyPair(p.CertFile, p.KeyFile)
		if err != nil {
			return nil, err
		}
		c.Certificates = append(c.Certificates, cert)
	}
	var err error
	if f.ClientCAFile != "" {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs, err = authorities(f.ClientCAFile)
	}
	return c, err
}

// ClientFiles say how a server is spoken to with TLS.
type ClientFiles struct {
	// CAFile holds the authorities by one of which the server's certificate
	// must be signed; empty takes those of the system.
	CAFile string
	// CertFile and KeyFile, when not empty, are shown to the server.
	CertFile, KeyFile string
	// ServerName is the name that the certificate must have, and that is sent
	// to the server (SNI); empty takes the host of the address.
	ServerName string
	// InsecureSkipVerify checks nothing.
	InsecureSkipVerify bool
}

// ClientTLS is TLS towards servers. Its files are read again as those of
// ServerTLS are. Any goroutine may use it.
type ClientTLS struct{ r reloading }

// NewClientTLS reads the files.
func NewClientTLS(f ClientFiles, logger *slog.Logger) (*ClientTLS, error) {
	t := &ClientTLS{r: reloading{paths: []string{f.CAFile, f.CertFile, f.KeyFile}, build: f.config, log: logger}}
	if err := t.r.load(); err != nil {
		return nil, err
	}
	return t, nil
}

// For is what a handshake with the server at address, "host:port" or the path
// of a unix socket, goes by.
func (t *ClientTLS) For(address string) *tls.Config {
	c := t.r.current()
	if c.ServerName != "" {
		return c
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	c = c.Clone()
	c.ServerName = host
	return c
}

func (f ClientFiles) config() (*tls.Config, error) {
	c := &tls.Config{
		ServerName: f.ServerName, InsecureSkipVerify: f.InsecureSkipVerify,
		MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true,
	}
	var err error
	if f.CAFile != "" {
		if c.RootCAs, err = authorities(f.CAFile); err != nil {
			return nil, err
		}
	}
	if f.CertFile != "" {
		cert, err := keyPair(f.CertFile, f.KeyFile)
		if err != nil {
			return nil, err
		}
		// Not Certificates, of which none is shown when the server names
		// authorities that did not sign it: the server's error says more.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return c, nil
}

func keyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if pathErr := (*fs.PathError)(nil); err != nil && !errors.As(err, &pathErr) {
		err = fmt.Errorf("%s and %s are no pair: %w", certFile, keyFile, err)
	}
	return cert, err
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// reloading is a configuration made of files.
type reloading struct {
	paths []string // empty ones do not count
	build func() (*tls.Config, error)
	log   *slog.Logger

	config  atomic.Pointer[tls.Config]
	checked atomic.Int64 // time of the last look, in nanoseconds

	mu    sync.Mutex
	infos []os.FileInfo // as of the last look, nil for a file that is not there
}

// load reads the files for the first time.
func (r *reloading) load() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checked.Store(time.Now().UnixNano())
	r.infos = make([]os.FileInfo, len(r.paths))
	r.changed()
	return r.read()
}

func (r *reloading) read() error {
	c, err := r.build()
	if err == nil {
		r.config.Store(c)
	}
	return err
}

// changed notes what the files are, and reports whether one is another than
// before: it has another size or time, or stands in its place, also behind a
// symbolic link.
func (r *reloading) changed() bool {
	any := false
	for i, path := range r.paths {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			info = nil
		}
		if !same(info, r.infos[i]) {
			r.infos[i] = info
			any = true
		}
	}
	return any
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// current looks at the files, if nobody has for checkEvery, and returns the
// configuration in force.
func (r *reloading) current() *tls.Config {
	now, last := time.Now().UnixNano(), r.checked.Load()
	if now-last >= int64(checkEvery) && r.checked.CompareAndSwap(last, now) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.changed() {
			if err := r.read(); err != nil {
				r.log.Error("changed TLS files are of no use; those read before stay in force", "error", err)
			} else {
				r.log.Info("TLS files were read again", "files", r.paths)
			}
		}
	}
	return r.config.Load()
}

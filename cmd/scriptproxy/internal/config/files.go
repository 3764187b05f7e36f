package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxSecret bounds a file with a password or a token.
const maxSecret = 64 << 10

// resolver reads what the file refers to and fills in what depends on it.
type resolver struct {
	*report
	dir string // what relative paths resolve against
	cfg *Config
}

func (r *resolver) resolve() {
	c := r.cfg
	for i := range c.Listen {
		if c.Listen[i].Name == "" {
			c.Listen[i].Name = c.Listen[i].Address
		}
		r.serverTLS(fmt.Sprintf("listen[%d].tls", i), c.Listen[i].TLS)
	}
	r.serverTLS("admin.tls", c.Admin.TLS)
	r.secret("admin.tokens.read_file", &c.Admin.Tokens.ReadFile, &c.Admin.Tokens.Read)
	r.secret("admin.tokens.admin_file", &c.Admin.Tokens.AdminFile, &c.Admin.Tokens.Admin)

	c.inlineSecret = !c.Upstream.Password.IsZero()
	if c.inlineSecret && c.Upstream.PasswordFile != "" {
		r.problem("upstream.password", "given beside password_file; keep one of them")
	}
	r.secret("upstream.password_file", &c.Upstream.PasswordFile, &c.Upstream.Password)
	r.clientTLS("upstream.tls", &c.Upstream.TLS)
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		r.secret(fmt.Sprintf("upstreams[%d].password_file", i), &u.PasswordFile, &u.Password)
	}
	for i := range c.Auth.Users {
		user := &c.Auth.Users[i]
		r.secret(fmt.Sprintf("auth.users[%d].upstream_password_file", i), &user.UpstreamPasswordFile, &user.UpstreamPassword)
	}
	r.secret("watchdog.sentinel_password_file", &c.Watchdog.SentinelPasswordFile, &c.Watchdog.SentinelPassword)
	r.secret("registry.redis.password_file", &c.Registry.Redis.PasswordFile, &c.Registry.Redis.Password)
	r.clientTLS("registry.redis.tls", &c.Registry.Redis.TLS)
	r.place(&c.Registry.StateFile)
	r.place(&c.Registry.Redis.CacheFile)
	if c.Policy.RulesFile != "" {
		r.place(&c.Policy.RulesFile)
		if _, err := r.read(c.Policy.RulesFile, maxFile); err != nil {
			r.problem("policy.rules_file", "%s", err)
		}
	}
	r.place(&c.Scripts.Dir)
	r.scripts()
}

// place makes *path relative to the configuration's directory.
func (r *resolver) place(path *string) { *path = r.placed(*path) }

func (r *resolver) placed(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.dir, path)
}

// secret reads the secret in *file, when one is given, into secret.
func (r *resolver) secret(path string, file *string, secret *Secret) {
	if *file == "" {
		return
	}
	r.place(file)
	data, err := r.read(*file, maxSecret)
	if err != nil {
		r.problem(path, "%s", err)
		return
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		r.problem(path, "%s is empty", *file)
		return
	}
	*secret = NewSecret(text)
	r.warnReadable(path, *file)
}

// warnReadable warns of a file with a secret that every user may read.
func (r *resolver) warnReadable(path, file string) {
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 {
		r.warn(path, "%s can be read by every user of this machine; chmod o-r it", file)
	}
}

func (r *resolver) serverTLS(path string, t *ServerTLS) {
	if t == nil {
		return
	}
	r.pair(path, &t.CertFile, &t.KeyFile)
	for i := range t.Certificates {
		c := &t.Certificates[i]
		r.pair(fmt.Sprintf("%s.certificates[%d]", path, i), &c.CertFile, &c.KeyFile)
	}
	r.authorities(path+".client_ca_file", &t.ClientCAFile)
}

func (r *resolver) clientTLS(path string, t *ClientTLS) {
	r.pair(path, &t.CertFile, &t.KeyFile)
	r.authorities(path+".ca_file", &t.CAFile)
}

// pair checks that a certificate and its key can be loaded.
func (r *resolver) pair(path string, certFile, keyFile *string) {
	if *certFile == "" || *keyFile == "" {
		return
	}
	r.place(certFile)
	r.place(keyFile)
	cert, certErr := r.read(*certFile, maxFile)
	if certErr != nil {
		r.problem(path+".cert_file", "%s", certErr)
	}
	key, keyErr := r.read(*keyFile, maxFile)
	if keyErr != nil {
		r.problem(path+".key_file", "%s", keyErr)
	} else {
		r.warnReadable(path+".key_file", *keyFile)
	}
	if certErr != nil || keyErr != nil {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		r.problem(path+".cert_file", "%s and %s are no pair: %s", *certFile, *keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
}

// authorities checks that a file holds certificates.
func (r *resolver) authorities(path string, file *string) {
	if *file == "" {
		return
	}
	r.place(file)
	data, err := r.read(*file, maxFile)
	switch {
	case err != nil:
		r.problem(path, "%s", err)
	case !x509.NewCertPool().AppendCertsFromPEM(data):
		r.problem(path, "%s holds no certificate in PEM", *file)
	}
}

// read returns the content of a regular file of at most limit bytes, and notes
// the file. The errors name the file and are fit for the user.
func (r *resolver) read(file string, limit int64) ([]byte, error) {
	r.cfg.files = append(r.cfg.files, file)
	// O_NONBLOCK keeps a named pipe without a writer from blocking the start.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileError(file, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fileError(file, err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory, not a file", file)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fileError(file, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %s", file, Size(limit))
	}
	return data, nil
}

// fileError puts the reason of a failed system call behind the file's name.
func fileError(file string, err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		err = pathErr.Err
	}
	return fmt.Errorf("cannot read %s: %w", file, err)
}

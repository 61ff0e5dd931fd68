package pki

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"

	"devctl/internal/atomicfile"
)

// Load reads dir/name.crt and dir/name.key, and checks that they belong together. The error wraps
// fs.ErrNotExist when one of the files is missing.
func Load(dir, name string) (Pair, error) {
	cert, err := os.ReadFile(filepath.Join(dir, name+".crt"))
	if err != nil {
		return Pair{}, fmt.Errorf("load certificate %q: %w", name, err)
	}
	key, err := os.ReadFile(filepath.Join(dir, name+".key"))
	if err != nil {
		return Pair{}, fmt.Errorf("load certificate %q: %w", name, err)
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		return Pair{}, fmt.Errorf("load certificate %q: %w", name, err)
	}
	return Pair{Cert: string(cert), Key: string(key)}, nil
}

// Store writes dir/name.key, readable by its owner only, and then dir/name.crt. The folder is made when it is
// missing. Each file is replaced as a whole; a stop between the two leaves a pair that Load refuses.
func (p Pair) Store(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store certificate %q: %w", name, err)
	}
	if err := atomicfile.Write(filepath.Join(dir, name+".key"), []byte(p.Key), 0o600); err != nil {
		return fmt.Errorf("store certificate %q: %w", name, err)
	}
	if err := atomicfile.Write(filepath.Join(dir, name+".crt"), []byte(p.Cert), 0o644); err != nil {
		return fmt.Errorf("store certificate %q: %w", name, err)
	}
	return nil
}

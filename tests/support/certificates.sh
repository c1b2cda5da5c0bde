# certificates ADDRESS: an own CA (ca.pem, ca.key) and a certificate of it (tls.pem, tls.key, tls.csr) for localhost,
# ldap.example.org and the address, in the current folder, and two for clients: client.pem and stranger.pem. To be sourced.
certificates() {
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key
  openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=test CA" -out ca.pem
  openssl ecparam -name prime256v1 -genkey -noout -out tls.key
  openssl req -new -key tls.key -subj "/CN=localhost" -out tls.csr
  openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
    -extfile <(echo "subjectAltName=DNS:localhost,DNS:ldap.example.org,IP:$1") -out tls.pem 2>openssl.log
  for who in client stranger; do
    openssl ecparam -name prime256v1 -genkey -noout -out $who.key
    openssl req -new -key $who.key -subj "/O=example/CN=$who" -out $who.csr
    openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
      -extfile <(echo "extendedKeyUsage=clientAuth") -out $who.pem 2>>openssl.log
  done
  chmod 600 ./*.key
}

/* Preloaded into a process and its children: writes each name that is looked up and each address
   that is spoken to to the file P2L_OUTWARD_LOG, from native code as from Python. What is not this
   machine is refused, so that a test never reaches anybody. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void note(const char *what, const char *whom) {
    const char *path = getenv("P2L_OUTWARD_LOG");
    char line[512];
    int size = snprintf(line, sizeof line, "%s %s\n", what, whom ? whom : "(none)");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file < 0) return;
    if (size > (int)sizeof line - 1) size = sizeof line - 1;
    if (write(file, line, size) < 0) { /* nobody to tell */ }
    close(file);
}

static int is_loopback_v4(const struct in_addr *a) { return (ntohl(a->s_addr) >> 24) == 127; }

/* Whether it may go on; noted in any case. */
static int allowed(const char *call, const struct sockaddr *to) {
    char text[INET6_ADDRSTRLEN + 32] = "", whom[INET6_ADDRSTRLEN + 64];
    int local = 1, port = 0;
    if (to == NULL || to->sa_family == AF_UNIX || to->sa_family == AF_UNSPEC) return 1;
    if (to->sa_family == AF_NETLINK) return 1; /* the kernel's own */
    if (to->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)to;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        local = is_loopback_v4(&in->sin_addr);
        port = ntohs(in->sin_port);
    } else if (to->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)to;
        inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
        local = IN6_IS_ADDR_LOOPBACK(&in->sin6_addr) ||
                (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr) && in->sin6_addr.s6_addr[12] == 127);
        port = ntohs(in->sin6_port);
    } else {
        snprintf(text, sizeof text, "family-%d", to->sa_family);
        local = 0;
    }
    snprintf(whom, sizeof whom, "%s port %d", text, port);
    note(call, whom);
    return local;
}

static int is_local_name(const char *name) {
    struct in6_addr six;
    struct in_addr four;
    if (name == NULL || strcmp(name, "localhost") == 0) return 1;
    if (inet_pton(AF_INET, name, &four) == 1) return is_loopback_v4(&four) || four.s_addr == 0;
    if (inet_pton(AF_INET6, name, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six) || IN6_IS_ADDR_UNSPECIFIED(&six);
    return 0;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    if (!is_local_name(name)) {
        note("name", name);
        return EAI_NONAME;
    }
    return real(name, service, hints, found);
}

struct hostent *gethostbyname(const char *name) {
    struct hostent *(*real)(const char *) = dlsym(RTLD_NEXT, "gethostbyname");
    if (!is_local_name(name)) {
        note("name", name);
        h_errno = HOST_NOT_FOUND;
        return NULL;
    }
    return real(name);
}

int connect(int fd, const struct sockaddr *to, socklen_t size) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    if (allowed("connect", to)) return real(fd, to, size);
    errno = ENETUNREACH;
    return -1;
}

ssize_t sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *to,
               socklen_t size) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) =
        dlsym(RTLD_NEXT, "sendto");
    if (allowed("sendto", to)) return real(fd, data, n, flags, to, size);
    errno = ENETUNREACH;
    return -1;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    if (message == NULL || allowed("sendmsg", message->msg_name)) return real(fd, message, flags);
    errno = ENETUNREACH;
    return -1;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned int n, int flags) {
    int (*real)(int, struct mmsghdr *, unsigned int, int) = dlsym(RTLD_NEXT, "sendmmsg");
    for (unsigned int i = 0; i < n; i++)
        if (!allowed("sendmmsg", messages[i].msg_hdr.msg_name)) {
            errno = ENETUNREACH;
            return -1;
        }
    return real(fd, messages, n, flags);
}

/* An LSTM layer and its backward pass by hand, in C, checked against golden vectors.

   Make the vectors, build, and run:

       lstm-check export --layout torch --timesteps 7 --batch 3 --inputs 4 --hidden 5 --out vectors.safetensors
       cc -O2 -std=c99 -o lstm_backward examples/lstm_backward.c -lm
       ./lstm_backward vectors.safetensors

   Layout: PyTorch's nn.LSTM, float64: gates i, f, g, o along the rows of weight_ih_l0 (4H, D) and
   weight_hh_l0 (4H, H); time-major inputs (T, B, D); two biases. It prints each gradient's largest error and exits with 1
   if one is beyond rounding. Break a line of backward() and see. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- golden vectors: a .safetensors file is a length (8 bytes), a JSON header, and the arrays' bytes ---- */

typedef struct {
    char *header;
    unsigned char *data;
} Vectors;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "lstm_backward: %s: %s\n", what, which);
    exit(2);
}

static Vectors read_vectors(const char *path) {
    FILE *file = fopen(path, "rb");
    unsigned char size[8];
    if (!file || fread(size, 1, 8, file) != 8) fail("cannot read", path);
    unsigned long long header_size = 0;
    for (int i = 7; i >= 0; i--) header_size = header_size << 8 | size[i];
    fseek(file, 0, SEEK_END);
    long total = ftell(file);
    if (total < 8 || header_size > (unsigned long long)total - 8) fail("not a .safetensors file", path);
    size_t data_size = total - 8 - header_size;
    Vectors v = {calloc(header_size + 1, 1), malloc(data_size + 1)};
    fseek(file, 8, SEEK_SET);
    if (fread(v.header, 1, header_size, file) != header_size || fread(v.data, 1, data_size, file) != data_size)
        fail("cannot read", path);
    fclose(file);
    return v;
}

/* The array called `name`, float64; its shape goes to `shape` if that is given. */
static double *array(Vectors v, const char *name, long *shape) {
    char key[80];
    snprintf(key, sizeof key, "\"%s\":", name);
    char *at = strstr(v.header, key);
    if (!at) fail("no such array in the file", name);
    char *end = strchr(at, '}'), *dtype = strstr(at, "\"F64\""), *dims = strstr(at, "\"shape\":"), *place = strstr(at, "\"data_offsets\":");
    if (!end || !dtype || dtype > end || !dims || !place) fail("expected float64", name);
    dims = strchr(dims, '[') + 1;
    for (int axis = 0; shape && *dims && *dims != ']'; axis++) {
        shape[axis] = strtol(dims, &dims, 10);
        dims += strspn(dims, ", ");
    }
    double *values = (double *)malloc(strtol(strchr(place, ',') + 1, NULL, 10) - strtol(strchr(place, '[') + 1, NULL, 10) + 8);
    long begin = strtol(strchr(place, '[') + 1, NULL, 10), stop = strtol(strchr(place, ',') + 1, NULL, 10);
    memcpy(values, v.data + begin, stop - begin);
    return values;
}

/* ---- the layer ---- */

static int T, B, D, H;
static double *x, *h0, *c0, *w_ih, *w_hh, *b_ih, *b_hh;            /* what it is given */
static double *gates, *c, *h;                                      /* (T, B, 4H), (T, B, H), (T, B, H) */
static double *d_w_ih, *d_w_hh, *d_b, *d_x, *d_h0, *d_c0;          /* what backward() finds */

static double sigmoid(double z) { return 1 / (1 + exp(-z)); }
static double *zeros(long n) { return calloc(n, sizeof(double)); }
static double *before(double *states, double *initial, int t) { return t ? states + (long)(t - 1) * B * H : initial; }

static void forward(void) {
    for (int t = 0; t < T; t++)
        for (int b = 0; b < B; b++) {
            double *x_t = x + ((long)t * B + b) * D, *h_p = before(h, h0, t) + b * H, *c_p = before(c, c0, t) + b * H;
            double *a = gates + ((long)t * B + b) * 4 * H;
            for (int r = 0; r < 4 * H; r++) {
                double z = b_ih[r] + b_hh[r];
                for (int k = 0; k < D; k++) z += w_ih[r * D + k] * x_t[k];
                for (int k = 0; k < H; k++) z += w_hh[r * H + k] * h_p[k];
                a[r] = r / H == 2 ? tanh(z) : sigmoid(z);
            }
            for (int u = 0; u < H; u++) {
                long at = ((long)t * B + b) * H + u;
                c[at] = a[H + u] * c_p[u] + a[u] * a[2 * H + u];
                h[at] = a[3 * H + u] * tanh(c[at]);
            }
        }
}

static void backward(double *d_outputs, double *d_h_n, double *d_c_n) {
    double *dh = zeros(B * H), *dc = zeros(B * H), *dz = zeros(4 * H);
    memcpy(dh, d_h_n, sizeof(double) * B * H);
    memcpy(dc, d_c_n, sizeof(double) * B * H);
    for (int t = T - 1; t >= 0; t--)
        for (int b = 0; b < B; b++) {
            double *x_t = x + ((long)t * B + b) * D, *h_p = before(h, h0, t) + b * H, *c_p = before(c, c0, t) + b * H;
            double *a = gates + ((long)t * B + b) * 4 * H;
            for (int u = 0; u < H; u++) {
                double i = a[u], f = a[H + u], g = a[2 * H + u], o = a[3 * H + u];
                double tanh_c = tanh(c[((long)t * B + b) * H + u]);
                double d_h = dh[b * H + u] + d_outputs[((long)t * B + b) * H + u];
                double d_c = dc[b * H + u] + d_h * o * (1 - tanh_c * tanh_c);
                dz[u] = d_c * g * i * (1 - i);
                dz[H + u] = d_c * c_p[u] * f * (1 - f);
                dz[2 * H + u] = d_c * i * (1 - g * g);
                dz[3 * H + u] = d_h * tanh_c * o * (1 - o);
                dc[b * H + u] = d_c * f;
            }
            for (int k = 0; k < H; k++) dh[b * H + k] = 0;
            for (int r = 0; r < 4 * H; r++) {
                d_b[r] += dz[r];
                for (int k = 0; k < D; k++) {
                    d_w_ih[r * D + k] += dz[r] * x_t[k];
                    d_x[((long)t * B + b) * D + k] += dz[r] * w_ih[r * D + k];
                }
                for (int k = 0; k < H; k++) {
                    d_w_hh[r * H + k] += dz[r] * h_p[k];
                    dh[b * H + k] += dz[r] * w_hh[r * H + k];
                }
            }
        }
    memcpy(d_h0, dh, sizeof(double) * B * H);
    memcpy(d_c0, dc, sizeof(double) * B * H);
}

/* Largest error, in units of the largest entry. Two correct float64 backward passes differ by rounding: about sqrt(n) u after n
   roundings, n = T (D + H + 16) for each of two passes plus T B rows summed; 8 of those, as docs/tolerance.md has it. */
static int compare(const char *name, double *ours, double *golden, long n) {
    double error = 0, scale = 0;
    double allowed = 16 * sqrt(2.0 * T * (D + H + 16) + T * B) * 1.1e-16;
    for (long k = 0; k < n; k++) {
        if (!(fabs(ours[k] - golden[k]) <= error)) error = fabs(ours[k] - golden[k]);
        if (fabs(golden[k]) > scale) scale = fabs(golden[k]);
    }
    int agrees = error <= allowed * scale;
    printf("%-10s %-20s largest error %.1e of the largest entry\n", agrees ? "agrees" : "DISAGREES", name, error / scale);
    return !agrees;
}

int main(int argc, char **argv) {
    if (argc != 2) fail("expected one argument", "the .safetensors file that lstm-check export wrote");
    Vectors v = read_vectors(argv[1]);
    long inputs[3], weights[2];
    x = array(v, "inputs", inputs), w_ih = array(v, "weight_ih_l0", weights), w_hh = array(v, "weight_hh_l0", NULL);
    b_ih = array(v, "bias_ih_l0", NULL), b_hh = array(v, "bias_hh_l0", NULL);
    h0 = array(v, "h0", NULL), c0 = array(v, "c0", NULL);
    T = inputs[0], B = inputs[1], D = inputs[2], H = weights[0] / 4;
    long states = (long)T * B * H;
    gates = zeros(4 * states), c = zeros(states), h = zeros(states);
    d_w_ih = zeros(4L * H * D), d_w_hh = zeros(4L * H * H), d_b = zeros(4 * H);
    d_x = zeros((long)T * B * D), d_h0 = zeros(B * H), d_c0 = zeros(B * H);

    forward();
    backward(array(v, "d_outputs", NULL), array(v, "d_h_n", NULL), array(v, "d_c_n", NULL));

    int wrong = compare("outputs", h, array(v, "outputs", NULL), states);
    wrong += compare("grad.weight_ih_l0", d_w_ih, array(v, "grad.weight_ih_l0", NULL), 4L * H * D);
    wrong += compare("grad.weight_hh_l0", d_w_hh, array(v, "grad.weight_hh_l0", NULL), 4L * H * H);
    wrong += compare("grad.bias_ih_l0", d_b, array(v, "grad.bias_ih_l0", NULL), 4 * H);
    wrong += compare("grad.bias_hh_l0", d_b, array(v, "grad.bias_hh_l0", NULL), 4 * H); /* each bias gets the full gradient */
    wrong += compare("grad.inputs", d_x, array(v, "grad.inputs", NULL), (long)T * B * D);
    wrong += compare("grad.h0", d_h0, array(v, "grad.h0", NULL), B * H);
    wrong += compare("grad.c0", d_c0, array(v, "grad.c0", NULL), B * H);
    return wrong != 0;
}

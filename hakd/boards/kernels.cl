/* Kernels of the engines `opencl` and `opencl-gemm`, OpenCL C 1.2: float32, images as NCHW.

One work item makes one value of the output: global size (pixels, channels, images), the first two rounded up to whole
work groups. Numbers that a step fixes are arguments: a program is built once for all models. `low` and `high` limit outputs. */

float within(float value, float low, float high) { return value < low ? low : value > high ? high : value; }

/* Direct convolution, with any groups: a filter on each channel, too. */
kernel void conv(global const float *x, global const float *weight, global const float *bias, global float *out, int has_bias,
                 int ins, int outs, int groups, int height, int width, int made, int across, int kernel_y, int kernel_x,
                 int stride_y, int stride_x, int padding_y, int padding_x, int dilation_y, int dilation_x, float low,
                 float high)
{
    int place = get_global_id(0), c = get_global_id(1), image = get_global_id(2);
    if (place >= made * across || c >= outs)
        return;
    int channels = ins / groups, top = place / across * stride_y - padding_y, left = place % across * stride_x - padding_x;
    float sum = has_bias ? bias[c] : 0.0f;
    x += ((size_t)image * ins + c / (outs / groups) * channels) * height * width;
    weight += (size_t)c * channels * kernel_y * kernel_x;
    for (int i = 0; i < channels; i++, x += height * width)
        for (int ky = 0; ky < kernel_y; ky++) {
            int y = top + ky * dilation_y;
            for (int kx = 0; kx < kernel_x; kx++, weight++) {
                int right = left + kx * dilation_x;
                if (y >= 0 && y < height && right >= 0 && right < width)
                    sum += *weight * x[y * width + right];
            }
        }
    out[((size_t)image * outs + c) * made * across + place] = within(sum, low, high);
}

/* im2col of the channels of a group of one image: depth x pixels; global size (pixels, channels, 1). */
kernel void columns(global const float *x, global float *out, int first, int channels, int height, int width, int made, int across,
                    int kernel_y, int kernel_x, int stride_y, int stride_x, int padding_y, int padding_x, int dilation_y,
                    int dilation_x)
{
    int place = get_global_id(0), c = get_global_id(1);
    if (place >= made * across || c >= channels)
        return;
    int top = place / across * stride_y - padding_y, left = place % across * stride_x - padding_x;
    x += (size_t)(first + c) * height * width;
    out += (size_t)c * kernel_y * kernel_x * made * across + place;
    for (int ky = 0; ky < kernel_y; ky++)
        for (int kx = 0; kx < kernel_x; kx++, out += made * across) {
            int y = top + ky * dilation_y, right = left + kx * dilation_x;
            *out = y >= 0 && y < height && right >= 0 && right < width ? x[y * width + right] : 0.0f;
        }
}

/* Add the bias of each channel to sums in place, and limit them. */
kernel void finish(global float *out, global const float *bias, int has_bias, int outs, int pixels, float low, float high)
{
    int place = get_global_id(0), c = get_global_id(1);
    if (place >= pixels || c >= outs)
        return;
    size_t at = ((size_t)get_global_id(2) * outs + c) * pixels + place;
    out[at] = within(out[at] + (has_bias ? bias[c] : 0.0f), low, high);
}

/* The mean of each window where there are factors, else its largest value. */
kernel void pool(global const float *x, global const float *factors, global float *out, int means, int ins, int height,
                 int width, int made, int across, int kernel_y, int kernel_x, int stride_y, int stride_x, int padding_y,
                 int padding_x, int dilation_y, int dilation_x, float low, float high)
{
    int place = get_global_id(0), c = get_global_id(1), image = get_global_id(2);
    int top = place / across * stride_y - padding_y, left = place % across * stride_x - padding_x;
    if (place >= made * across || c >= ins)
        return;
    float found = means ? 0.0f : -INFINITY;
    x += ((size_t)image * ins + c) * height * width;
    for (int ky = 0; ky < kernel_y; ky++)
        for (int kx = 0; kx < kernel_x; kx++) {
            int y = top + ky * dilation_y, right = left + kx * dilation_x;
            if (y >= 0 && y < height && right >= 0 && right < width) {
                float value = x[y * width + right];
                found = means ? found + value : fmax(found, value);
            }
        }
    if (means)
        found *= factors[place];
    out[((size_t)image * ins + c) * made * across + place] = within(found, low, high);
}

/* x, or x + y, into channels of out from `offset` on. */
kernel void add(global const float *x, global const float *y, global float *out, int both, int ins, int outs, int offset,
                int pixels, float low, float high)
{
    int place = get_global_id(0), c = get_global_id(1), image = get_global_id(2);
    if (place >= pixels || c >= ins)
        return;
    size_t from = ((size_t)image * ins + c) * pixels + place;
    float value = both ? x[from] + y[from] : x[from];
    out[((size_t)image * outs + offset + c) * pixels + place] = within(value, low, high);
}
